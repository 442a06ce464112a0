"""How do two 8259A serve fifteen lines? Master and slave as a PC cascades them, with their ELCR.

Intel 8259A data sheet, "Cascade mode"; 82371SB data sheet 4.3.3 for ELCR1 and ELCR2 (ports 0x4d0, 0x4d1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from pv.devices.i8259 import I8259, LINES

CASCADE_LINE: Final = 2
NO_INTERRUPT: Final = -1
FLOATING: Final = 0xFF  # what the processor reads in an INTA cycle that no chip answers
LEVEL_ALLOWED: Final = (0xF8, 0xDE)  # ELCR bits that can be set: not timer, keyboard, cascade; not RTC, coprocessor


class PicPair:
    """Lines 0-15, of which 2 is the slave. interrupt(level) is INTR of the processor."""

    def __init__(self, interrupt: Callable[[bool], None]) -> None:
        self.master: Final = I8259(interrupt)
        self.slave: Final = I8259(partial(self.master.line, CASCADE_LINE), slave=True)
        self._chips: Final = (self.master, self.slave)

    def line(self, irq: int, level: bool) -> None:
        """Drive line `irq`, 0-15."""
        chip, pin = divmod(irq, LINES)
        self._chips[chip].line(pin, level)

    def acknowledge(self) -> int:
        """The processor's INTA cycles: the vector, or NO_INTERRUPT where INTR is low and there is nothing to take.

        A line on which ICW3 put a slave is left to the slave of that identity; where there is none the bus floats.
        """
        if not self.master.asserted:
            return NO_INTERRUPT
        irq = self.master.take()
        if not self.master.slaves >> irq & 1:
            return self.master.vector(irq)
        return self.slave.acknowledge() if irq == self.slave.identity else FLOATING

    def read_elcr(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        return self._chips[offset].elcr

    def write_elcr(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        self._chips[offset].set_level_triggered(value & LEVEL_ALLOWED[offset])
