"""Where does each instruction of the text stand? Rounds of encoding until no address moves.

Round one assumes that every label is next door, so branches start short and grow where they must. An
encoding that still changes its length after SETTLE_ROUNDS (a label difference near the edge of an
imm8) keeps its longest form, filled up with NOPs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guest_sdk.encode import Encoder
from guest_sdk.errors import AssemblyError
from guest_sdk.expressions import Lookup
from guest_sdk.syntax import Directive, Instruction, Item, Label, Register

SETTLE_ROUNDS: Final = 8
MOST_ROUNDS: Final = 40
MOST_ALIGN: Final = 4096
NOP: Final = b"\x90"
ENCODER: Final = Encoder()


@dataclass(slots=True)
class Placed:
    """The text after one round: its bytes, its labels, and each item's (address, size) for listings."""

    code: bytes
    labels: dict[str, int]
    spans: list[tuple[int, int]]


def guess(items: list[Item], base: int) -> dict[str, int]:
    """Label addresses for the first round: as if every instruction were one byte long."""
    labels = {}
    for at, item in enumerate(items):
        if isinstance(item, Label):
            labels[item.name] = base + at
    return labels


def place(items: list[Item], base: int, lookup: Lookup, is_label: dict[str, int], longest: list[int]) -> Placed:
    """One round. `longest` holds the least size of each item, or is empty while sizes are free."""
    code, labels, spans = bytearray(), {}, []
    for index, item in enumerate(items):
        address = base + len(code)
        if isinstance(item, Label):
            labels[item.name] = address
            spans.append((address, 0))
            continue
        try:
            if isinstance(item, Instruction):
                operands = tuple(
                    operand if isinstance(operand, Register) else operand.resolve(lookup, is_label)
                    for operand in item.operands
                )
                chunk = ENCODER.encode(item.mnemonic, item.prefixes, operands, address)
                if longest:
                    chunk += NOP * (longest[index] - len(chunk))
            else:
                chunk = _directive(item, address, lookup)
        except AssemblyError as error:
            raise AssemblyError(error.reason, error.line or item.text) from error
        code += chunk
        spans.append((address, len(chunk)))
    return Placed(bytes(code), labels, spans)


def _directive(item: Directive, address: int, lookup: Lookup) -> bytes:
    values = [value.integer(lookup) for value in item.values]
    if item.unit_bytes:
        return b"".join(pack(value, item.unit_bytes) for value in values)
    return NOP * (-address % check_align(values[0]))


def check_align(align: int) -> int:
    """`align` itself. Raises AssemblyError unless it is a power of two up to a page."""
    if not 0 < align <= MOST_ALIGN or align & (align - 1):
        raise AssemblyError(f"alignment {align} is not a power of two up to {MOST_ALIGN}")
    return align


def pack(value: int, size_bytes: int) -> bytes:
    """`value`, signed or unsigned, in little-endian. Raises AssemblyError where it does not fit."""
    bits = size_bytes * 8
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise AssemblyError(f"{value:#x} does not fit in {size_bytes} bytes")
    return (value % (1 << bits)).to_bytes(size_bytes, "little")
