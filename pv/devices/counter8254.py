"""Where is one counter of an 8254 at a given clock? Its modes as formulas, its latches and byte order.

Intel 82C54 data sheet (231244-006), "Mode definitions" and "Read operations". Clocks are absolute integers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

BYTE: Final = 0x100
BINARY_COUNTS: Final = 0x10000
BCD_COUNTS: Final = 10_000
WEIGHTS: Final = (1, 10, 100, 1000)


class Mode(enum.IntEnum):
    TERMINAL_COUNT = 0
    ONE_SHOT = 1
    RATE = 2
    SQUARE_WAVE = 3
    SOFTWARE_STROBE = 4
    HARDWARE_STROBE = 5


PERIODIC: Final = {Mode.RATE, Mode.SQUARE_WAVE}
TRIGGERED: Final = {Mode.ONE_SHOT, Mode.HARDWARE_STROBE}  # a rising gate starts them
LOW_WHILE_COUNTING: Final = {Mode.TERMINAL_COUNT, Mode.ONE_SHOT}


class Access(enum.IntEnum):
    """RW1 RW0 of the control word."""

    LATCH = 0
    LOW = 1
    HIGH = 2
    LOW_THEN_HIGH = 3


class Status:
    """ "Status byte"; RW at bit 4 and the mode at bit 1 stand as in the control word."""

    BCD = 1 << 0
    NULL_COUNT = 1 << 6
    OUT = 1 << 7


ACCESS_SHIFT, MODE_SHIFT = 4, 1


@dataclass(slots=True)
class Counter:
    """One counter. `start` is the clock of its last load, None while it does not count.

    held: the clocks it had counted when its gate fell, None while the gate lets it count.
    successor: the count that is taken when a periodic mode's period ends, or at the next trigger.
    """

    gate: bool
    mode: Mode = Mode.TERMINAL_COUNT
    access: Access = Access.LOW_THEN_HIGH
    bcd: bool = False
    count: int = 0
    start: int | None = None
    held: int | None = None
    successor: int | None = None
    programmed: bool = False
    loaded: bool = False  # a count was written since the control word
    low_byte: int | None = None  # the first of two bytes written
    high_next: bool = False  # the second of two bytes is to be read
    count_latch: int | None = None
    status_latch: int | None = None

    def program(self, mode: Mode, access: Access, *, bcd: bool) -> None:
        """A control word: counting stops until a count is written, OUT takes its initial level."""
        self.mode, self.access, self.bcd = mode, access, bcd
        self.programmed, self.loaded, self.high_next = True, False, False
        self.start = self.held = self.successor = self.low_byte = self.count_latch = self.status_latch = None

    def write(self, byte: int, clock: int) -> None:
        """A byte of the count; in mode 0 the first of two stops the counter."""
        if not self.programmed:
            return
        match self.access:
            case Access.LOW:
                self._load(byte, clock)
            case Access.HIGH:
                self._load(byte * BYTE, clock)
            case _ if self.low_byte is None:
                self.low_byte = byte
                if self.mode is Mode.TERMINAL_COUNT:
                    self.start = self.held = None
            case _:
                self._load(self.low_byte + byte * BYTE, clock)
                self.low_byte = None

    def _load(self, written: int, clock: int) -> None:
        count = (from_bcd(written) if self.bcd else written) or self._counts
        self._advance(clock)
        self.loaded = True
        if self.mode in TRIGGERED:
            self.successor = count
        elif self.start is not None and self.mode in PERIODIC:
            if self.held is None:
                self.start += (clock - self.start) // self.count * self.count  # where the running period began
            self.successor = count
        else:
            self.count, self.start = count, clock
            self.held = None if self.gate else 0

    def set_gate(self, level: bool, clock: int) -> None:
        """Low holds modes 0, 2, 3 and 4; rising starts 1 and 5, and restarts 2 and 3 ("Gate pin operations")."""
        self._advance(clock)
        rising, falling = level and not self.gate, self.gate and not level
        self.gate = level
        if rising and self.loaded and self.mode in TRIGGERED:
            self._restart(clock)
        elif self.start is None or self.mode in TRIGGERED:
            return
        elif falling:
            self.held = clock - self.start
        elif rising and self.mode in PERIODIC:
            self._restart(clock)
        elif rising:
            self.start, self.held = clock - (self.held or 0), None

    def _restart(self, clock: int) -> None:
        """A trigger: take the last count written and begin."""
        if self.successor is not None:
            self.count, self.successor = self.successor, None
        self.start, self.held = clock, None

    def _advance(self, clock: int) -> None:
        """Let a successor take over where its period has begun."""
        if self.successor is None or self.start is None or self.held is not None or self.mode not in PERIODIC:
            return
        if clock - self.start >= self.count:
            self._restart(self.start + self.count)

    @property
    def _counts(self) -> int:
        return BCD_COUNTS if self.bcd else BINARY_COUNTS

    def _elapsed(self, clock: int) -> int | None:
        """Clocks counted since the load, or None where nothing counts."""
        self._advance(clock)
        if self.start is None:
            return None
        return clock - self.start if self.held is None else self.held

    def value(self, clock: int) -> int:
        """The counting element, as it would be read: 16 bits, BCD where so programmed."""
        elapsed = self._elapsed(clock)
        if elapsed is None:
            return 0
        if self.mode is Mode.RATE:
            left = self.count - elapsed % self.count
        elif self.mode is Mode.SQUARE_WAVE:  # counts by two, twice a period; an odd count is one less
            half = (self.count + 1) // 2
            left = (self.count - self.count % 2) - 2 * (elapsed % self.count % half)
        else:
            left = self.count - elapsed  # and on from the highest count after zero
        left %= self._counts
        return to_bcd(left) if self.bcd else left

    def out(self, clock: int) -> bool:
        """The level of the OUT pin."""
        elapsed = self._elapsed(clock)
        if elapsed is None:
            return self.mode is not Mode.TERMINAL_COUNT or not self.programmed
        if self.mode in LOW_WHILE_COUNTING:
            return elapsed >= self.count
        if self.mode in PERIODIC and self.held is not None:
            return True  # a low gate forces OUT high
        if self.mode is Mode.RATE:
            return elapsed % self.count != self.count - 1
        if self.mode is Mode.SQUARE_WAVE:
            return elapsed % self.count < (self.count + 1) // 2
        return elapsed != self.count

    def next_rise(self, clock: int) -> int | None:
        """The first clock after `clock` at which OUT rises, or None where it never will."""
        elapsed = self._elapsed(clock)
        if elapsed is None or self.held is not None or self.start is None:
            return None
        if self.mode in PERIODIC:
            if self.count == 1:  # not a legal count: OUT does not move
                return None if self.successor is None else self.start + 1
            return self.start + (elapsed // self.count + 1) * self.count
        rise = self.start + self.count + (self.mode not in LOW_WHILE_COUNTING)
        return rise if rise > clock else None

    def latch_count(self, clock: int) -> None:
        """Keep the count for reading; a second latch before it is read is ignored."""
        if self.count_latch is None:
            self.count_latch = self.value(clock)

    def latch_status(self, clock: int) -> None:
        """Keep the status byte for reading, before any latched count."""
        if self.status_latch is not None:
            return
        status = Status.BCD if self.bcd else 0
        if self.out(clock):
            status |= Status.OUT
        if not self.loaded or self.successor is not None:
            status |= Status.NULL_COUNT
        self.status_latch = status | self.access << ACCESS_SHIFT | self.mode << MODE_SHIFT

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
