"""What does the architecture say a page walk does? SDM vol. 3, 4.5 to 4.8, in the plainest Python.

Written from the manual alone: it shares nothing with the core. Memory is a dict of frames, each 512 entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field

P, W, U, A, D, PS = 1, 2, 4, 0x20, 0x40, 0x80
NX = 1 << 63
FRAME = 0x000F_FFFF_FFFF_F000
TOO_HIGH = 0x000F_FF00_0000_0000  # bits 40 to 51: this processor has 40 address bits
F_P, F_W, F_U, F_RSVD, F_I = 1, 2, 4, 8, 16
ONES = (1 << 64) - 1


@dataclass(frozen=True)
class Walk:
    """Where a walk ended: the frame and rights of a translation, or why there is none."""

    frame: int = 0
    writable: bool = False
    user: bool = False
    executable: bool = False
    accessed: bool = False
    dirty: bool = False
    reserved: bool = False
    path: tuple[tuple[int, int], ...] | None = None  # (frame, index) of each entry used; None: no translation

    def allows_less_than(self, other: Walk) -> bool:
        """Whether a processor that still holds `other` must be told."""
        if other.path is None:
            return False
        rights = ("writable", "user", "executable", "accessed", "dirty")
        return (
            self.path is None
            or self.frame != other.frame
            or any(getattr(other, right) and not getattr(self, right) for right in rights)
        )


@dataclass
class Paging:
    """Memory and the registers that decide how it is reached. Addresses of frames are in pages."""

    ram_frames: int
    memory: dict[int, list[int]] = field(default_factory=dict)
    root: int = 0
    write_protect: bool = True
    no_execute: bool = True

    def entry(self, frame: int, index: int) -> int:
        """A paging-structure entry; where there is no memory the bus reads ones."""
        return self.memory[frame][index] if frame < self.ram_frames else ONES

    def walk(self, gva: int) -> Walk:
        """Follow the tables without leaving a mark."""
        frame, path = self.root, []
        writable = user = executable = accessed = True
        for level in (3, 2, 1, 0):
            index = gva >> (12 + 9 * level) & 511
            entry = self.entry(frame, index)
            if not entry & P:
                return Walk()
            path.append((frame, index))
            leaf = level == 0 or (level < 3 and bool(entry & PS))
            reserved = TOO_HIGH | (0 if self.no_execute else NX) | (PS if level == 3 else 0)
            if leaf and level:
                reserved |= (1 << 12 + 9 * level) - (1 << 13)
            if entry & reserved:
                return Walk(reserved=True)
            writable, user = writable and bool(entry & W), user and bool(entry & U)
            executable, accessed = executable and not entry & NX, accessed and bool(entry & A)
            frame = (entry & FRAME) >> 12
            if leaf:
                small = (1 << 9 * level) - 1
                frame = frame & ~small | gva >> 12 & small
                return Walk(frame, writable, user, executable, accessed, bool(entry & D), path=tuple(path))
        raise AssertionError("four levels were walked")

    def access(self, gva: int, *, write: bool = False, user: bool = False, fetch: bool = False) -> int | Walk:
        """The error code of the page fault, or the translation, its accessed and dirty bits set."""
        code = F_W * write | F_U * user | F_I * (fetch and self.no_execute)
        to = self.walk(gva)
        if to.reserved:
            return code | F_P | F_RSVD
        if to.path is None:
            return code
        denied = (user and not to.user) or (fetch and not to.executable)
        if denied or (write and not to.writable and (user or self.write_protect)):
            return code | F_P
        for frame, index in to.path:
            self.memory[frame][index] |= A
        frame, index = to.path[-1]
        self.memory[frame][index] |= D * write
        return to
