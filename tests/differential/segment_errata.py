"""Which segments does the engine tell of, that a processor in IA-32e mode does not? LAR and LSL alone.

As tests/differential/privileged_errata.py. A witness is a descriptor's type.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pv.emulate.alu import ZF
from pv.emulate.segment_queries import NOT_SYSTEM

LAR, LSL = 0x02, 0x03  # the second byte of the opcode


class Erratum(NamedTuple):
    """Of opcode 0F `opcode` the engine takes system segments of these `types`; the witness is each."""

    name: str
    manual: str
    opcode: int
    types: frozenset[int]


ERRATA: Final = (
    Erratum(
        "LAR tells of the system segments that only 32-bit mode has: TSS of 16 bits, call and task gates",
        "vol. 2, LAR, table 3-51: in IA-32e mode types 1, 3, 4 and 5 are reserved, and ZF is cleared",
        LAR,
        frozenset({1, 3, 4, 5}),
    ),
    Erratum(
        "LSL tells of a TSS of 16 bits",
        "vol. 2, LSL, table 3-54: in IA-32e mode types 1 and 3 are reserved, and ZF is cleared",
        LSL,
        frozenset({1, 3}),
    ),
)


def applies(opcode: int, high: int) -> bool:
    """high: the upper half of the descriptor."""
    return not high & NOT_SYSTEM and any(
        erratum.opcode == opcode and high >> 8 & 0xF in erratum.types for erratum in ERRATA
    )


def by_manual(opcode: int, high: int, left: tuple[int, int], before: int) -> tuple[int, int]:
    """Flags and register as a processor leaves them, of what the engine left; `before` is what the register held."""
    return (left[0] & ~ZF, before) if applies(opcode, high) else left
