"""What is behind port 0x61? System control port B: the gate of PIT channel 2, the speaker, OUT 2 and refresh.

IBM PS/2 Hardware Interface Technical Reference, "System Control Port B". Bits 6 and 7 (channel and parity check)
read zero: this memory has no parity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from pv.devices.state import SavedFields

REFRESH_NS: Final = 15_085  # bit 4 toggles with each refresh request: 18 PIT clocks


class PortBBit:
    GATE_2 = 1 << 0
    SPEAKER = 1 << 1
    PARITY_CHECK_OFF = 1 << 2
    CHANNEL_CHECK_OFF = 1 << 3
    REFRESH_TOGGLE = 1 << 4
    OUT_2 = 1 << 5


WRITABLE: Final = PortBBit.GATE_2 | PortBBit.SPEAKER | PortBBit.PARITY_CHECK_OFF | PortBBit.CHANNEL_CHECK_OFF


class PortB(SavedFields):
    """One register. set_gate(level) drives, and out() reads, the pins of PIT channel 2."""

    saved_fields: ClassVar = ("_written",)
    saved_ranges: ClassVar = {"_written": range(0x100)}
    wiring_fields: ClassVar = ("_set_gate", "_out", "_now_ns")

    def __init__(self, set_gate: Callable[[bool], None], out: Callable[[], bool], now_ns: Callable[[], int]) -> None:
        self._set_gate = set_gate
        self._out = out
        self._now_ns = now_ns
        self._written = 0

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        value = self._written
        if self._out():
            value |= PortBBit.OUT_2
        if self._now_ns() // REFRESH_NS % 2:
            value |= PortBBit.REFRESH_TOGGLE
        return value

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        self._written = WRITABLE & value
        self._set_gate(bool(self._written & PortBBit.GATE_2))
