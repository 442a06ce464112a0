"""Which interrupt request comes first? One 8259A, and the pair that a PC cascades.

Intel 8259A data sheet (231468-003); section and figure names below are its own. Edge or level is chosen a line by
the ELCR of the PC chip sets (82371SB, 4.3.3), or for all by ICW1.LTIM. Vectors are those of 8086 mode whatever
ICW4 says: nothing here could execute the CALL of MCS-80 mode.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ClassVar, Final

from pv.devices.state import SavedFields, State, StateError

LINES: Final = 8
ALL_LINES: Final = 0xFF
LOWEST_BIT: Final = tuple((mask & -mask).bit_length() - 1 for mask in range(1 << LINES))  # -1 where there is none
SPURIOUS_LINE: Final = 7  # "default IR7": what an acknowledge finds when the request is gone
LOWEST_AT_RESET: Final = 7
NOTHING_POLLED: Final = -1
NO_POLL: Final = -2
POLL_ANSWERED: Final = 0x80  # bit 7 of a poll's answer: a device was waiting
COMMAND, DATA = 0, 1  # A0


class Icw1:
    NEEDS_ICW4 = 1 << 0
    SINGLE = 1 << 1
    LEVEL = 1 << 3
    IS_ICW1 = 1 << 4


ICW2_BASE: Final = 0xF8  # T7-T3
ICW3_IDENTITY: Final = 0x07  # of a slave; a master's has a bit for each line with one
IDENTITY_AT_RESET: Final = 7


class Icw4:
    """Buffered mode has no effect here: it drives bus transceivers. Nor has the choice between MCS-80 and 8086."""

    AUTO_EOI = 1 << 1
    SPECIAL_FULLY_NESTED = 1 << 4


class Ocw2(enum.IntEnum):
    """Bits 7-5 of OCW2: R, SL, EOI."""

    ROTATE_IN_AEOI_CLEAR = 0b000
    END = 0b001
    NOTHING = 0b010
    END_SPECIFIC = 0b011
    ROTATE_IN_AEOI_SET = 0b100
    ROTATE_AND_END = 0b101
    SET_PRIORITY = 0b110
    ROTATE_AND_END_SPECIFIC = 0b111


OCW2_SHIFT: Final = 5
ROTATES: Final = {Ocw2.ROTATE_AND_END, Ocw2.ROTATE_AND_END_SPECIFIC}


class Ocw3:
    READ_ISR = 1 << 0
    READ_REGISTER = 1 << 1
    POLL = 1 << 2
    IS_OCW3 = 1 << 3
    SPECIAL_MASK = 1 << 5
    SET_SPECIAL_MASK = 1 << 6


class I8259(SavedFields):
    """One chip. interrupt(level) is its INT pin. `slave` is its SP pin: what ICW3 says to it.

    slaves: the lines on which ICW3 told a master that slaves are. identity: the line on which it told a slave it is.
    Until ICW1 comes every line is masked, so a machine whose guest never heard of the chip is left alone.
    """

    saved_fields: ClassVar = (
        "slaves", "identity", "elcr", "_lines", "_irr", "_isr", "_imr", "_base", "_lowest", "_ltim", "_auto_eoi",
        "_rotate_in_aeoi", "_fully_nested", "_special_mask", "_read_isr", "_asserted",
    )  # fmt: skip
    saved_ranges: ClassVar = {
        **dict.fromkeys(("slaves", "elcr", "_lines", "_irr", "_isr", "_imr", "_base"), range(ALL_LINES + 1)),
        **dict.fromkeys(("identity", "_lowest"), range(LINES)),
    }
    wiring_fields: ClassVar = ("_interrupt", "_is_slave", "_expected", "_polled")  # the last two: see save()

    def __init__(self, interrupt: Callable[[bool], None], *, slave: bool = False) -> None:
        self._interrupt = interrupt
        self._is_slave = slave
        self.slaves = 0
        self.identity = IDENTITY_AT_RESET
        self.elcr = 0  # lines that are level-triggered
        self._lines = 0  # the pins as they are
        self._irr = 0
        self._isr = 0
        self._imr = ALL_LINES
        self._base = 0
        self._lowest = LOWEST_AT_RESET  # the line that has the lowest priority
        self._ltim = False
        self._auto_eoi = self._rotate_in_aeoi = self._fully_nested = False
        self._special_mask = False
        self._read_isr = False
        self._polled: int | None = None  # what a poll command found, up to the next read
        self._expected: list[Callable[[int], None]] = []  # ICW2-4 still to come, in order
        self._asserted = False

    def save(self) -> State:
        expected = [word.__name__.removeprefix("_") for word in self._expected]
        return {**super().save(), "expected": expected, "polled": self._polled}

    def restore(self, saved: State) -> None:
        words = {"icw2": self._icw2, "icw3": self._icw3, "icw4": self._icw4}
        expected = saved.get("expected")
        if not isinstance(expected, list) or not all(word in words for word in expected):
            raise StateError("I8259.expected names no command words")
        polled = saved.get("polled", NO_POLL)
        if polled is not None and (type(polled) is not int or not NOTHING_POLLED <= polled < LINES):
            raise StateError("I8259.polled is no line")
        super().restore(saved)
        self._polled = polled
        self._expected = [words[word] for word in expected]

    @property
    def asserted(self) -> bool:
        """The level of the INT pin."""
        return self._asserted

    def line(self, irq: int, level: bool) -> None:
        """Drive request pin `irq` (0-7)."""
        bit = 1 << irq
        if level:
            if not self._lines & bit or self._is_level(bit):
                self._irr |= bit
            self._lines |= bit
        else:  # a request must stay until it is acknowledged, or it is withdrawn ("Edge and level triggered modes")
            self._lines &= ~bit
            self._irr &= ~bit
        self._update()

    def acknowledge(self) -> int:
        """The INTA cycles: the vector. With no request waiting it is that of IR7, and no ISR bit is set."""
        return self.vector(self.take())

    def vector(self, irq: int) -> int:
        """What line `irq` (0-7) is called on the processor's side: ICW2 + irq."""
        return self._base + irq

    def take(self) -> int:
        """The first INTA pulse: the line (0-7) that is served from now on; INT falls, and rises if more waits."""
        irq = self._candidate()
        return SPURIOUS_LINE if irq is None else self._serve(irq)

    def _serve(self, irq: int) -> int:
        bit = 1 << irq
        if not self._is_level(bit):
            self._irr &= ~bit
        if not self._auto_eoi:
            self._isr |= bit
        elif self._rotate_in_aeoi:
            self._lowest = irq
        self._drive(False)
        self._update()
        return irq

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        """A0 = 0: IRR or ISR as OCW3 chose; A0 = 1: IMR; the first read after a poll command is the poll's answer."""
        polled, self._polled = self._polled, None
        if polled is not None:
            return 0 if polled == NOTHING_POLLED else POLL_ANSWERED | self._serve(polled)
        if offset == DATA:
            return self._imr
        return self._isr if self._read_isr else self._irr

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        if offset == COMMAND and value & Icw1.IS_ICW1:
            self._icw1(value)
        elif offset == COMMAND and value & Ocw3.IS_OCW3:
            self._ocw3(value)
        elif offset == COMMAND:
            self._ocw2(value >> OCW2_SHIFT, value % LINES)
        elif self._expected:
            self._expected.pop(0)(value)
        else:
            self._imr = value
        self._update()

    def set_level_triggered(self, mask: int) -> None:
        """Write ELCR: the lines of `mask` are level-triggered, the others edge-triggered."""
        self.elcr = mask
        self._irr |= self._lines & mask
        self._update()

    def _icw1(self, value: int) -> None:
        """ "Initialization command words": what ICW1 resets, and which words follow."""
        self._ltim = bool(value & Icw1.LEVEL)
        self._irr = self._lines & (ALL_LINES if self._ltim else self.elcr)  # the edge sense circuit is reset
        self._isr = 0
        self._imr = 0
        self._lowest = LOWEST_AT_RESET
        self._special_mask = self._read_isr = False
        self._polled = None
        self.slaves, self.identity = 0, IDENTITY_AT_RESET
        self._auto_eoi = self._rotate_in_aeoi = self._fully_nested = False
        self._expected = [self._icw2]
        if not value & Icw1.SINGLE:
            self._expected.append(self._icw3)
        if value & Icw1.NEEDS_ICW4:
            self._expected.append(self._icw4)

    def _icw2(self, value: int) -> None:
        self._base = value & ICW2_BASE

    def _icw3(self, value: int) -> None:
        if self._is_slave:
            self.identity = value & ICW3_IDENTITY
        else:
            self.slaves = value

    def _icw4(self, value: int) -> None:
        self._auto_eoi = bool(value & Icw4.AUTO_EOI)
        self._fully_nested = bool(value & Icw4.SPECIAL_FULLY_NESTED)

    def _ocw2(self, command: int, level: int) -> None:
        match command:
            case Ocw2.END | Ocw2.ROTATE_AND_END:
                irq = self._highest(self._serving())
                if irq is not None:
                    self._end(irq, command in ROTATES)
            case Ocw2.END_SPECIFIC | Ocw2.ROTATE_AND_END_SPECIFIC:
                self._end(level, command in ROTATES)
            case Ocw2.SET_PRIORITY:
                self._lowest = level
            case Ocw2.ROTATE_IN_AEOI_SET | Ocw2.ROTATE_IN_AEOI_CLEAR:
                self._rotate_in_aeoi = command == Ocw2.ROTATE_IN_AEOI_SET

    def _end(self, irq: int, rotate: bool) -> None:
        self._isr &= ~(1 << irq)
        if rotate:
            self._lowest = irq

    def _ocw3(self, value: int) -> None:
        if value & Ocw3.SET_SPECIAL_MASK:
            self._special_mask = bool(value & Ocw3.SPECIAL_MASK)
        if value & Ocw3.READ_REGISTER:
            self._read_isr = bool(value & Ocw3.READ_ISR)
        if value & Ocw3.POLL:  # what is found now is what the next read serves: "Poll command"
            irq = self._candidate()
            self._polled = NOTHING_POLLED if irq is None else irq

    def _is_level(self, bit: int) -> bool:
        return self._ltim or bool(self.elcr & bit)

    def _rank(self, irq: int) -> int:
        """0 for the highest priority: the line after the lowest."""
        return (irq - self._lowest - 1) % LINES

    def _highest(self, mask: int) -> int | None:
        if not mask:
            return None
        shift = (self._lowest + 1) % LINES  # turn the mask until the line of highest priority is bit 0
        return (LOWEST_BIT[(mask >> shift | mask << LINES - shift) & ALL_LINES] + shift) % LINES

    def _serving(self) -> int:
        """The lines in service that count: in special mask mode a masked one holds nothing off, and no EOI finds it."""
        return self._isr & ~self._imr if self._special_mask else self._isr

    def _candidate(self) -> int | None:
        """The line to be served now: requested, not masked, and above all that is in service."""
        wanted = self._irr & ~self._imr
        if not wanted or self._expected:  # no interrupts in the middle of initialization
            return None
        irq, serving = self._highest(wanted), self._highest(self._serving())
        if irq is None or serving is None or self._rank(irq) < self._rank(serving):
            return irq
        again = self._fully_nested and irq == serving and bool(self.slaves >> irq & 1)
        return irq if again else None

    def _drive(self, level: bool) -> None:
        if level is not self._asserted:
            self._asserted = level
            self._interrupt(level)

    def _update(self) -> None:
        self._drive(self._candidate() is not None)
