"""What do the guest's linear addresses lead to, for an instruction that is carried out here?

`Bus` is all that operations know: it finds an operand and moves it. `GuestBus` decides page by page whether that is
memory or a device, so an operand that crosses a page is made of what each page leads to, after both were found
accessible. Nothing here says why the instruction is not executed by the processor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from pv.devices.bus import Window
from pv.emulate.architecture import MASK_64
from pv.engines.base import Vcpu
from pv.exits import NEXT, Reply
from pv.memory import PAGE_SIZE

CYCLES: Final = frozenset((1, 2, 4, 8))  # bytes that a device takes at once
WIDEST: Final = 8


class Piece(NamedTuple):
    """The part of an operand that lies in one page."""

    gva: int
    gpa: int
    size: int


class Bus(Protocol):
    """Where operands are: `vcpu` has the registers, the rest leads to memory and devices."""

    @property
    def vcpu(self) -> Vcpu: ...
    def locate(self, gva: int, size: int, *, write: bool = False) -> list[Piece]:
        """The pieces of an operand of 1-16 bytes, first address first.

        Raises the GuestFault of the first page that forbids it; none of the operand has been touched then.
        """
        ...

    def load(self, pieces: Iterable[Piece]) -> int:
        """The operand's value, unsigned."""
        ...

    def store(self, pieces: Iterable[Piece], value: int) -> Reply:
        """Write the operand. A device's reply ends it; NEXT where none has one."""
        ...


class GuestBus:
    """A Bus over the guest's own tables: its memory, or one of `windows`."""

    def __init__(self, vcpu: Vcpu, windows: Sequence[Window]) -> None:
        self.vcpu: Final = vcpu
        self._windows: Final = windows

    def locate(self, gva: int, size: int, *, write: bool = False) -> list[Piece]:
        translate, first = self.vcpu.translate, PAGE_SIZE - gva % PAGE_SIZE
        if size <= first:
            return [Piece(gva, translate(gva, write=write), size)]
        second = (gva + first) & MASK_64
        return [
            Piece(gva, translate(gva, write=write), first),
            Piece(second, translate(second, write=write), size - first),
        ]

    def load(self, pieces: Iterable[Piece]) -> int:
        value = shift = 0
        for gva, gpa, size in pieces:
            window = self._window(gpa)
            if window is None:
                part = int.from_bytes(self.vcpu.read_linear(gva, size), "little")
            elif size in CYCLES:
                part = window.read(gpa - window.first, size)
            else:
                part = 0
                for at, width in _cycles(gpa, size):
                    part |= window.read(at - window.first, width) << 8 * (at - gpa)
            value |= part << shift
            shift += 8 * size
        return value

    def store(self, pieces: Iterable[Piece], value: int) -> Reply:
        for gva, gpa, size in pieces:
            window = self._window(gpa)
            if window is None:
                self.vcpu.write_linear(gva, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
            else:
                for at, width in _cycles(gpa, size):
                    reply = window.write(at - window.first, width, value >> 8 * (at - gpa) & (1 << 8 * width) - 1)
                    if reply is not None:
                        return reply
            value >>= 8 * size
        return NEXT

    def _window(self, gpa: int) -> Window | None:
        for window in self._windows:
            if window.first <= gpa <= window.last:
                return window
        return None


def _cycles(gpa: int, size: int) -> list[tuple[int, int]]:
    """(gpa, size) of each cycle: one where a device takes the piece whole, two for 16 bytes, else one a byte."""
    if size in CYCLES:
        return [(gpa, size)]
    width = WIDEST if size == 2 * WIDEST else 1
    return [(gpa + at, width) for at in range(0, size, width)]
