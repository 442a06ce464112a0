"""A random program: which kinds stand in its slots, how it becomes bytes, and how it is shown to a person.

Seed and number of slots say all of it: the same pair is the same program under every version of this generator's table
of kinds. A slot left out keeps its place, so that the others keep their addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from random import Random
from typing import Final

from iced_x86 import Decoder, Formatter, FormatterSyntax

from tests.equivalence import layout as at
from tests.equivalence.kinds import HOLED, KINDS, Kind, Piece
from tests.equivalence.kinds_transfers import BACK, HERE

for module in (
    "registers",
    "segments",
    "memory",
    "transfers",
    "devices",
    "holes",
    "code",
    "code_pages",
    "branches",
    "flags",
):
    import_module(f"tests.equivalence.kinds_{module}")

SLOTS: Final = (5, 40)  # fewest and most instructions of a program
NOTE: Final = b"\xc7\x04\x25" + at.SLOT.to_bytes(4, "little")  # MOV dword [SLOT], imm32
END: Final = bytes([0xCD, at.DONE])
NOTHING: Final = Piece(b"")


@dataclass(frozen=True, slots=True)
class Slot:
    """kind: a name of KINDS, empty for a slot left out."""

    kind: str
    piece: Piece

    def excuse(self, techniques: Sequence[str] = (HOLED,)) -> str:
        """The hole or erratum through which these techniques differ here; empty for what must be equal."""
        return KINDS[self.kind].excuse(techniques) if self.kind else ""


EMPTY: Final = Slot("", NOTHING)


@dataclass(frozen=True, slots=True)
class Program:
    """Slots, the general registers that it begins with, and the bytes of its data pages."""

    seed: int
    slots: tuple[Slot, ...]
    registers: tuple[int, ...]
    data: bytes

    def without(self, numbers: Iterable[int]) -> Program:
        """The same with those slots left out."""
        gone = set(numbers)
        return replace(self, slots=tuple(EMPTY if n in gone else slot for n, slot in enumerate(self.slots)))

    def first(self, count: int) -> Program:
        """The same, ended after `count` slots."""
        return replace(self, slots=self.slots[:count])

    def pages(self) -> tuple[bytes, bytes]:
        """The bytes at CODE and at USER."""
        kernel, user = bytearray(), bytearray()
        for number, slot in enumerate(self.slots):
            here = (at.USER + at.SLOT_BYTES * number).to_bytes(4, "little")
            kernel += _filled(NOTE + number.to_bytes(4, "little") + slot.piece.kernel.replace(HERE_BYTES, here))
            user += _filled(slot.piece.user or BACK)
        end = _filled(NOTE + len(self.slots).to_bytes(4, "little") + END)
        kernel += end * (at.SLOTS_MOST + 4 - len(self.slots))
        return bytes(kernel), bytes(user.ljust(at.SLOT_BYTES * at.SLOTS_MOST, b"\xcc"))

    def listing(self) -> str:
        """Address, bytes and instruction of every slot that is not left out."""
        lines = [f"program of seed {self.seed}:"]
        kernel, user = self.pages()
        for number, slot in enumerate(self.slots):
            if not slot.kind:
                continue
            note = f"; {slot.kind}" + (f" (listed: {slot.excuse()})" if slot.excuse() else "")
            begin = at.SLOT_BYTES * number
            size = len(NOTE) + 4 + len(slot.piece.kernel)
            lines += disassembly(kernel[begin + len(NOTE) + 4 : begin + size], at.CODE + begin + len(NOTE) + 4, note)
            if slot.piece.user:
                lines += disassembly(user[begin : begin + len(slot.piece.user)], at.USER + begin, "; at CPL 3")
        return "\n".join(lines)


HERE_BYTES: Final = HERE.to_bytes(4, "little")
FORMATTER: Final = Formatter(FormatterSyntax.NASM)


def _filled(code: bytes) -> bytes:
    """A slot's bytes; a short jump over what is left of it."""
    left = at.SLOT_BYTES - len(code)
    if left < 0:
        raise ValueError(f"a slot of {len(code)} bytes: {code.hex()}")
    if left < 3:
        return code + b"\x90" * left
    return code + b"\xeb" + bytes([left - 2]) + b"\x90" * (left - 2)


def disassembly(code: bytes, address: int, note: str) -> list[str]:
    """A line an instruction, the note behind the first."""
    lines = []
    for instruction in Decoder(64, code, ip=address):
        begin = instruction.ip - address
        text = (
            f"{instruction.ip:8x}  {code[begin : begin + instruction.len].hex():24}  {FORMATTER.format(instruction):40}"
        )
        lines.append(f"{text} {note}".rstrip())
        note = ""
    return lines


@cache
def drawn(holes: bool, techniques: tuple[str, ...] = (HOLED,)) -> tuple[tuple[Kind, ...], tuple[int, ...]]:
    """The kinds that are drawn, and their weights: without holes those in which the techniques must be equal."""
    kinds = tuple(one for one in KINDS.values() if holes or not one.excuse(techniques))
    return kinds, tuple(one.weight for one in kinds)


def generate(seed: int, techniques: Sequence[str] = (HOLED,), *, holes: bool = False) -> Program:
    """The program of a seed: without holes one that must be equal under the techniques."""
    choose = Random(seed)
    kinds, weights = drawn(holes, tuple(techniques))
    count = choose.randint(*SLOTS)
    return build(seed, choose, choose.choices(kinds, weights, k=count))


def build(seed: int, choose: Random, kinds: Sequence[Kind]) -> Program:
    """A program of these kinds, their operands drawn from `choose`."""
    slots = tuple(Slot(one.name, one.make(choose)) for one in kinds)
    registers = tuple(choose.getrandbits(64) for _ in range(16))
    return Program(seed, slots, registers, choose.randbytes(at.DATA_BYTES))
