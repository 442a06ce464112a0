"""What do the three counters of an 8254 read, and when do their outputs rise? Exact in virtual time, no ticking.

Intel 82C54 data sheet (231244-006). Nothing runs between accesses: a counter is where it started and at which
clock. OUT 0 reaches its line as rises alone: what lies between them keeps the request that the rise made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from pv.devices.counter8254 import Access, Counter, Mode
from pv.devices.deadline import At, Deadline
from pv.devices.state import SavedFields, State, StateError

HZ: Final = 1_193_182  # 14.31818 MHz / 12
NS_PER_S: Final = 1_000_000_000
COUNTERS: Final = 3
CONTROL: Final = 3  # A1 A0 of the control word


class ControlWord:
    """ "Control word format", and "Read-back command format" where SC is 3."""

    BCD = 1 << 0
    STATUS = 0x3F  # what the status byte shows of it
    NO_LATCH_STATUS = 1 << 4
    NO_LATCH_COUNT = 1 << 5


SELECT_SHIFT, ACCESS_SHIFT, MODE_SHIFT = 6, 4, 1
FIELD_2_BITS, FIELD_3_BITS = 4, 8
READ_BACK: Final = 3  # SC
MODES: Final = (0, 1, 2, 3, 4, 5, 2, 3)  # by bits 3-1: bit 3 does not matter for modes 2 and 3


def clocks_at(ns: int) -> int:
    """Clocks of the 8254 since time 0."""
    return ns * HZ // NS_PER_S


def ns_of(clock: int) -> int:
    """The first ns at which clocks_at gives `clock`."""
    return -(-clock * NS_PER_S // HZ)


class I8254(SavedFields):
    """The chip. line(level) is OUT 0. The gates of counters 0 and 1 are tied high; set_gate drives that of 2."""

    saved_fields: ClassVar = ("_deadline",)
    wiring_fields: ClassVar = ("_line", "_now_ns", "_counters")
    deadline_callbacks: ClassVar = {"_deadline": "_on_rise"}

    def __init__(self, line: Callable[[bool], None], now_ns: Callable[[], int], at: At) -> None:
        self._line = line
        self._now_ns = now_ns
        self._deadline = Deadline(at)
        self._counters = (Counter(gate=True), Counter(gate=True), Counter(gate=False))
        line(True)  # OUT as a BIOS leaves it: the first control word is then no edge

    def save(self) -> State:
        return {**super().save(), "counters": [counter.save() for counter in self._counters]}

    def restore(self, saved: State) -> None:
        counters = saved.get("counters")
        if (
            not isinstance(counters, list)
            or len(counters) != COUNTERS
            or not all(type(one) is dict for one in counters)
        ):
            raise StateError("I8254.counters are not three")
        for counter, state in zip(self._counters, counters, strict=True):
            counter.restore(state)
        super().restore(saved)

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        """The next byte of a counter, or of what was latched; the control word does not read."""
        return 0xFF if offset == CONTROL else self._counters[offset].read(self._clock())

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        clock = self._clock()
        if offset == CONTROL:
            self._control(value, clock)
        else:
            self._counters[offset].write(value, clock)
            if offset == 0:
                self._reprogrammed(clock)

    def set_gate(self, level: bool) -> None:
        """Drive GATE 2 (bit 0 of port 0x61)."""
        self._counters[2].set_gate(level, self._clock())

    def out(self) -> bool:
        """OUT 2 (bit 5 of port 0x61)."""
        return self._counters[2].out(self._clock())

    def _clock(self) -> int:
        return clocks_at(self._now_ns())

    def _control(self, value: int, clock: int) -> None:
        select = value >> SELECT_SHIFT
        if select == READ_BACK:
            self._read_back(value, clock)
            return
        counter = self._counters[select]
        access = Access((value >> ACCESS_SHIFT) % FIELD_2_BITS)
        if access is Access.LATCH:
            counter.latch_count(clock)
            return
        mode = Mode(MODES[(value >> MODE_SHIFT) % FIELD_3_BITS])
        counter.program(mode, access, bcd=bool(value & ControlWord.BCD), control=value & ControlWord.STATUS)
        if select == 0:
            self._reprogrammed(clock)

    def _read_back(self, value: int, clock: int) -> None:
        for number, counter in enumerate(self._counters):
            if value >> (number + 1) & 1:
                if not value & ControlWord.NO_LATCH_COUNT:
                    counter.latch_count(clock)
                if not value & ControlWord.NO_LATCH_STATUS:
                    counter.latch_status(clock)

    def _reprogrammed(self, clock: int) -> None:
        self._line(self._counters[0].out(clock))
        self._schedule(clock)

    def _schedule(self, clock: int) -> None:
        rise = self._counters[0].next_rise(clock)
        self._deadline.set(None if rise is None else ns_of(rise), self._on_rise)

    def _on_rise(self) -> None:
        """OUT 0 has risen. Between rises the line stays high, so that a request made waits to be taken."""
        self._deadline.reached()
        self._line(False)
        self._line(True)
        self._schedule(self._clock())
