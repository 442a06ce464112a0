"""Where is one counter of an 8254 at a given clock? Its modes as formulas, its latches and byte order.

Intel 82C54 data sheet (231244-006), "Mode definitions" and "Read operations". Clocks are absolute integers: what is
written, or driven, at clock c comes between the pulses c and c + 1, and a count is loaded by a pulse.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from types import NoneType
from typing import ClassVar, Final

from guest_sdk.abi import TIME_MOST
from pv.devices.state import State, StateError, check_range

BYTE: Final = 0x100
NO_MODE: Final = -1
BINARY_COUNTS: Final = 0x10000
BCD_COUNTS: Final = 10_000
CLOCKS_MOST: Final = TIME_MOST >> 9  # of 838 ns each, and more than a machine's time has
WEIGHTS: Final = (1, 10, 100, 1000)


class Mode(enum.IntEnum):
    TERMINAL_COUNT = 0
    ONE_SHOT = 1
    RATE = 2
    SQUARE_WAVE = 3
    SOFTWARE_STROBE = 4
    HARDWARE_STROBE = 5


PERIODIC: Final = {Mode.RATE, Mode.SQUARE_WAVE}
TRIGGERED: Final = {Mode.ONE_SHOT, Mode.HARDWARE_STROBE}  # a rising gate starts them, and its level holds nothing
STARTED_BY_GATE: Final = PERIODIC | TRIGGERED
LOW_WHILE_COUNTING: Final = {Mode.TERMINAL_COUNT, Mode.ONE_SHOT}


class Access(enum.IntEnum):
    """RW1 RW0 of the control word."""

    LATCH = 0
    LOW = 1
    HIGH = 2
    LOW_THEN_HIGH = 3


class Status:
    """ "Status byte"; bits 5-0 stand as in the control word."""

    NULL_COUNT = 1 << 6
    OUT = 1 << 7


@dataclass(slots=True)
class Counter:
    """One counter. A count that was written is loaded at a later clock, and counted down from there.

    count: what was loaded last, None before that. base: the clocks that it has counted up to clock `since`, from which
    it counts on; `since` is None while its gate, or half of a count in mode 0, holds it.
    written: the count register, loaded at clock `load_at`, None where only a trigger would load it; load_ends_cycle:
    that clock is where a periodic mode's cycle ends, and moves with it. null: `written` is not loaded yet.
    """

    gate: bool
    mode: Mode = Mode.TERMINAL_COUNT
    access: Access = Access.LOW_THEN_HIGH
    bcd: bool = False
    control: int = 0  # bits 5-0 of the control word, as status shows them
    count: int | None = None
    base: int = 0
    since: int | None = None
    written: int | None = None
    load_at: int | None = None
    load_ends_cycle: bool = False
    null: bool = True
    programmed: bool = False
    low: bool = False  # mode 0: OUT fell when a count was written, and stays down until that is loaded
    low_byte: int | None = None  # the first of two bytes written
    high_next: bool = False  # the second of two bytes is to be read
    count_latch: int | None = None
    status_latch: int | None = None

    saved_flags: ClassVar = ("gate", "bcd", "load_ends_cycle", "null", "programmed", "low", "high_next")
    saved_numbers: ClassVar[dict[str, range]] = {
        "control": range(BYTE),
        "count": range(1, BINARY_COUNTS + 1),
        "base": range(TIME_MOST),
        "since": range(CLOCKS_MOST),
        "written": range(1, BINARY_COUNTS + 1),
        "load_at": range(CLOCKS_MOST),
        "low_byte": range(BYTE),
        "count_latch": range(BINARY_COUNTS),
        "status_latch": range(BYTE),
    }

    def save(self) -> State:
        fields: State = {name: getattr(self, name) for name in (*self.saved_flags, *self.saved_numbers)}
        return {**fields, "mode": int(self.mode), "access": int(self.access)}

    def restore(self, saved: State) -> None:
        """Raises StateError where a field is missing, of another type, or out of its range."""
        flags = all(type(saved.get(name)) is bool for name in self.saved_flags)
        numbers = all(type(saved.get(name, "")) in (int, NoneType) for name in self.saved_numbers)
        if not flags or not numbers or None in (saved["control"], saved["base"]):
            raise StateError("a counter of the 8254 is none")
        try:
            self.mode, self.access = Mode(saved.get("mode", NO_MODE)), Access(saved.get("access", NO_MODE))
        except ValueError as error:
            raise StateError(f"a counter of the 8254: {error}") from None
        for name, allowed in self.saved_numbers.items():
            check_range(saved[name], allowed, f"{name} of a counter of the 8254")
        for name in (*self.saved_flags, *self.saved_numbers):
            setattr(self, name, saved[name])

    def program(self, mode: Mode, access: Access, *, bcd: bool, control: int = 0) -> None:
        """A control word: counting stops until a count is written, OUT takes its initial level."""
        self.mode, self.access, self.bcd, self.control = mode, access, bcd, control
        self.programmed, self.null = True, True
        self.low = self.load_ends_cycle = self.high_next = False
        self.count = self.since = self.written = self.load_at = None
        self.low_byte = self.count_latch = self.status_latch = None

    def write(self, byte: int, clock: int) -> None:
        """A byte of the count; in mode 0 the first of two stops the counter."""
        if not self.programmed:
            return
        self._advance(clock)
        match self.access:
            case Access.LOW:
                self._write_count(byte, clock)
            case Access.HIGH:
                self._write_count(byte * BYTE, clock)
            case _ if self.low_byte is None:
                self.low_byte = byte
                if self.mode is Mode.TERMINAL_COUNT:
                    self._hold(clock)
                    self.low, self.load_at = True, None
            case _:
                self._write_count(self.low_byte + byte * BYTE, clock)
                self.low_byte = None

    def _write_count(self, written: int, clock: int) -> None:
        self.written = (from_bcd(written) if self.bcd else written) or self._counts
        self.null = True
        if self.mode in TRIGGERED:
            return  # the next trigger loads it
        if self.mode in PERIODIC and self.count is not None:
            if self.load_at is None and self.since is not None:
                self.load_at, self.load_ends_cycle = self._cycle_end(clock), True
            return
        self.low = self.mode is Mode.TERMINAL_COUNT
        self.load_at = clock + 1

    def set_gate(self, level: bool, clock: int) -> None:
        """Low holds modes 0, 2, 3 and 4; rising loads and starts modes 1, 2, 3 and 5 ("Gate pin operations")."""
        self._advance(clock)
        rising, falling = level and not self.gate, self.gate and not level
        self.gate = level
        if rising and self.mode in STARTED_BY_GATE:
            if self.written is not None:
                self.load_at, self.load_ends_cycle = clock + 1, False
        elif falling and self.mode not in TRIGGERED:
            self._hold(clock)
            if self.load_ends_cycle:
                self.load_at, self.load_ends_cycle = None, False
        elif rising and self.mode not in TRIGGERED and self.count is not None and not self.low:
            self.since = clock

    def _hold(self, clock: int) -> None:
        if self.since is not None:
            self.base, self.since = self._elapsed(clock), None

    def _advance(self, clock: int) -> None:
        """Load the count register where its clock has come."""
        at = self.load_at
        if at is None or clock < at or self.written is None:
            return
        half = self.load_ends_cycle and self.mode is Mode.SQUARE_WAVE and self._first_half(at - 1)
        self.count = self.written
        self.base = (self.count + 1) // 2 if half else 0  # a new count of mode 3 begins with either half
        self.since = at if self.gate or self.mode in TRIGGERED else None
        self.load_at, self.load_ends_cycle, self.null, self.low = None, False, False, False

    @property
    def _counts(self) -> int:
        return BCD_COUNTS if self.bcd else BINARY_COUNTS

    def _elapsed(self, clock: int) -> int:
        """Clocks counted since the load."""
        return self.base + (0 if self.since is None else clock - self.since)

    def _first_half(self, clock: int) -> bool:
        """Whether OUT of mode 3 is high: an odd count is one clock longer so than low."""
        count = self.count or self._counts
        return self._elapsed(clock) % count < (count + 1) // 2

    def _cycle_end(self, clock: int) -> int:
        """The first clock after `clock` at which mode 2 reloads, or mode 3 begins its other half."""
        count = self.count or self._counts
        phase, half = self._elapsed(clock) % count, (count + 1) // 2
        return clock + (half if self.mode is Mode.SQUARE_WAVE and phase < half else count) - phase

    def value(self, clock: int) -> int:
        """The counting element, as it would be read: 16 bits, BCD where so programmed; 0 before a count is loaded."""
        self._advance(clock)
        count = self.count
        if count is None:
            return 0
        elapsed = self._elapsed(clock)
        if self.mode is Mode.RATE:
            left = count - elapsed % count
        elif self.mode is Mode.SQUARE_WAVE:  # counts by two, twice a period; an odd count is one less
            left = (count - count % 2) - 2 * (elapsed % count % ((count + 1) // 2))
        else:
            left = count - elapsed  # and on from the highest count after zero
        left %= self._counts
        return to_bcd(left) if self.bcd else left

    def out(self, clock: int) -> bool:
        """The level of the OUT pin."""
        self._advance(clock)
        count = self.count
        if self.low or count is None:
            return not self.programmed or self.mode is not Mode.TERMINAL_COUNT
        elapsed = self._elapsed(clock)
        if self.mode in LOW_WHILE_COUNTING:
            return elapsed >= count
        if self.mode in PERIODIC and (self.since is None or count == 1):
            return True  # a low gate forces OUT high, up to the load that its rise brings; 1 is no legal count
        if self.mode is Mode.RATE:
            return elapsed % count != count - 1
        if self.mode is Mode.SQUARE_WAVE:
            return self._first_half(clock)
        return elapsed != count

    def next_rise(self, clock: int) -> int | None:
        """The first clock after `clock` at which OUT rises, or None where it never will."""
        self._advance(clock)
        rise, at = self._rise(clock), self.load_at
        if at is None or (rise is not None and rise < at):  # at the load itself, what is loaded decides
            return rise
        loaded = replace(self)
        if loaded.out(at) and not self._out_before(at):
            return at
        return loaded._rise(at)

    def _out_before(self, clock: int) -> bool:
        """OUT one clock before `clock`, which a load at that clock is not to change."""
        return replace(self).out(clock - 1)

    def _rise(self, clock: int) -> int | None:
        """As next_rise, of the count that is loaded."""
        count = self.count
        if count is None or self.since is None or self.low:
            return None
        elapsed = self._elapsed(clock)
        if self.mode in PERIODIC:
            return None if count == 1 else clock + count - elapsed % count
        rise = clock - elapsed + count + (self.mode not in LOW_WHILE_COUNTING)
        return rise if rise > clock else None

    def latch_count(self, clock: int) -> None:
        """Keep the count for reading; a second latch before it is read is ignored."""
        if self.count_latch is None:
            self.count_latch = self.value(clock)

    def latch_status(self, clock: int) -> None:
        """Keep the status byte for reading, before any latched count."""
        if self.status_latch is not None:
            return
        status = Status.OUT if self.out(clock) else 0
        self.status_latch = status | (Status.NULL_COUNT if self.null else 0) | self.control

    def read(self, clock: int) -> int:
        """The next byte: the latched status, then the latched count, then the live count."""
        if self.status_latch is not None:
            status, self.status_latch = self.status_latch, None
            return status
        high, low = divmod(self.value(clock) if self.count_latch is None else self.count_latch, BYTE)
        if self.access is Access.LOW_THEN_HIGH:
            self.high_next = not self.high_next
            if self.high_next:
                return low  # a latched count is held until both bytes are read
        self.count_latch = None
        return low if self.access is Access.LOW else high


def from_bcd(value: int) -> int:
    """Four BCD digits as a number; a digit above 9 counts as what it is, within four decimal digits."""
    return sum((value >> 4 * digit) % 16 * weight for digit, weight in enumerate(WEIGHTS)) % BCD_COUNTS


def to_bcd(value: int) -> int:
    """A number below 10,000 as four BCD digits."""
    return sum(value // weight % 10 << 4 * digit for digit, weight in enumerate(WEIGHTS))
