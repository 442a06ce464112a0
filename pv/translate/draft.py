"""What is a block while it grows? Its bytes, the map from them to the guest's, its links, and what it was made by."""

from __future__ import annotations

from typing import Final, Protocol

from iced_x86 import Decoder, DecoderOptions

from pv.emulate.architecture import MASK_64
from pv.translate import callouts, sequences
from pv.translate.policy import After

# Which registers of the guest a block is made by: a change of one drops it.
GDTR: Final = 1
IDTR: Final = 2
LDTR: Final = 4
TR: Final = 8
CR0: Final = 16
CS: Final = 32
CR4: Final = 64
CR0_EM_ONLY: Final = 128  # of CR0 the bit EM alone

STUB: Final = -1  # in a map: no guest instruction, but a link's stub
OPTIONS: Final = DecoderOptions.FORCE_RESERVED_NOP  # as a processor without MPX and CET


class VirtualState(Protocol):
    """What the guest believes in, as far as its instructions show it: pv.engines.base.VirtualCpu has it."""

    @property
    def cr0(self) -> int: ...
    @property
    def cr4(self) -> int: ...
    @property
    def gdt_base(self) -> int: ...
    @property
    def gdt_limit(self) -> int: ...
    @property
    def idt_base(self) -> int: ...
    @property
    def idt_limit(self) -> int: ...
    @property
    def ldt_selector(self) -> int: ...
    @property
    def tr_selector(self) -> int: ...


class Draft:
    """A block as it grows. out: its bytes; pending: branches (where the rel32 is, target) whose stubs are to come."""

    __slots__ = (
        "at", "bakes", "checked", "code", "cs", "decoder", "full", "inner", "links", "map", "out", "pending", "rip",
        "room", "virtual",
    )  # fmt: skip

    def __init__(self, virtual: VirtualState, rip: int, code: bytes, room: int, cs: int, checked: bool) -> None:
        self.virtual, self.rip, self.code, self.room, self.cs, self.checked = virtual, rip, code, room, cs, checked
        self.out = bytearray()
        self.map: list[tuple[int, int, int]] = []
        self.links: list[tuple[int, int, int]] = []
        self.pending: list[tuple[int, int]] = []
        self.inner: set[int] = set()  # offsets in the cache where no guest instruction begins though the map has them
        self.bakes = 0
        self.at = 0  # of the guest instruction that is translated
        self.full = False
        self.decoder = Decoder(64, code, OPTIONS, ip=rip)
        if checked:
            self.part(callouts.check(0), 0)
            self.inner.add(0)

    def mark(self) -> tuple[int, ...]:
        """How far the block has come, for forget()."""
        return len(self.out), len(self.map), len(self.links), len(self.pending), self.bakes

    def forget(self, mark: tuple[int, ...]) -> None:
        """Take back what came since."""
        del self.out[mark[0] :], self.map[mark[1] :], self.links[mark[2] :], self.pending[mark[3] :]
        self.bakes = mark[4]

    def finish(self, ended: After, position: int) -> None:
        """The link to what follows, and a stub for each branch that leaves the block."""
        if ended is not After.NEVER:
            self.stub(self.rip + position & MASK_64)
        if not self.pending:
            return
        starts = self.starts()
        for field, target in self.pending:
            known = starts.get(target)
            if known is None:
                known = len(self.out)
                self.stub(target, field)
            self.out[field : field + 4] = sequences.rel32(known - field - 4)

    def starts(self) -> dict[int, int]:
        """Guest addresses at which a branch may enter this block: a checked one is entered at its check only."""
        if self.checked:
            return {}
        return {
            self.rip + guest & MASK_64: offset
            for offset, guest, _ in reversed(self.map)
            if guest != STUB and offset not in self.inner
        }

    def part(self, code: bytes, undo: int = 0) -> None:
        """One instruction of the cache, for the guest instruction that is translated."""
        self.map.append((len(self.out), self.at, undo))
        self.out += code

    def parts(self, parts: list[sequences.Part]) -> None:
        """All that one guest instruction becomes: no branch enters it but at the first."""
        for number, (code, undo) in enumerate(parts):
            if number:
                self.inner.add(len(self.out))
            self.part(code, undo)

    def inner_part(self, code: bytes, guest: int) -> None:
        """An instruction at which the state is already that of guest offset `guest`."""
        self.inner.add(len(self.out))
        self.map.append((len(self.out), guest, 0))
        self.out += code

    def stub(self, target: int, field: int = -1) -> None:
        at = len(self.out)
        self.map.append((at, STUB, 0))
        self.links.append((at, target, field))
        self.out += callouts.link(target, field - at if field >= 0 else 0)

    def go_to(self, target: int) -> None:
        """A jump within the block, or a link."""
        known = self.starts().get(target)
        if known is None:
            self.stub(target)
        else:
            self.part(sequences.JUMP + sequences.rel32(known - len(self.out) - sequences.JUMP_BYTES))
