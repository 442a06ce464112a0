"""What the engine lets privileged instructions do at CPL 0 that the manual forbids, and the handlers refuse.

As tests/differential/errata.py: each entry says whom it concerns and what the manual asks, and has a witness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from pv.emulate.architecture import (
    CR0_CD,
    CR0_DEFINED,
    CR0_NW,
    CR0_PE,
    CR0_PG,
    CR4_DE,
    CR4_OSFXSR,
    CR4_OSXMMEXCPT,
    CR4_PAE,
    CR4_PCE,
    CR4_PGE,
    CR4_PSE,
    CR4_TSD,
    DEBUG,
    DR7_GD,
    GENERAL_PROTECTION,
    MASK_32,
    canonical,
)
from tests.differential.privileged import CR4, Left, Privileged, natively

OFFERED_CR4: Final = (
    CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT
)  # by the CPUID that a guest sees
DR6_BIT_12: Final = 1 << 12
REFUSED: Final = Left(GENERAL_PROTECTION, {})


class Erratum(NamedTuple):
    """manual: where the SDM says otherwise. mend: what a processor leaves, of what the engine left."""

    name: str
    manual: str
    applies: Callable[[Privileged], bool]
    mend: Callable[[Privileged, Left], Left]
    witness: Privileged


def _refused(_case: Privileged, _left: Left) -> Left:
    return REFUSED


def _with(**state: Callable[[Privileged, int], int]) -> Callable[[Privileged, Left], Left]:
    """Mend registers of the state."""

    def mend(case: Privileged, left: Left) -> Left:
        changed = {name: new(case, left.state[name]) for name, new in state.items()}
        return left._replace(state={**left.state, **changed})

    return mend


def _bad_cr0(case: Privileged) -> bool:
    value = case.rax
    paging = value & (CR0_PE | CR0_PG) == CR0_PE | CR0_PG
    return case.text == "mov cr0, rax" and (value > MASK_32 or not paging or value & (CR0_NW | CR0_CD) == CR0_NW)


ERRATA: Final = (
    Erratum(
        "CR0 takes what long mode forbids",
        "vol. 2, MOV - control registers: #GP(0) for bits 63-32, for PG clear in 64-bit mode, for NW without CD",
        _bad_cr0,
        _refused,
        Privileged("mov cr0, rax", 0x1_8000_0033),
    ),
    Erratum(
        "CR0 keeps bits that are not defined",
        "vol. 3, 2.5: reserved bits of CR0 stay 0, and ET is 1",
        lambda case: case.text == "mov cr0, rax" and bool(case.rax & MASK_32 & ~CR0_DEFINED),
        _with(cr0=lambda _case, value: value & CR0_DEFINED),
        Privileged("mov cr0, rax", 0x9000_0033),
    ),
    Erratum(
        "CR4 takes reserved bits, and those of features that the guest's CPUID hides",
        "vol. 3, 2.5: #GP(0) for a reserved bit; vol. 2: and for PAE clear in long mode",
        lambda case: case.text == "mov cr4, rax" and bool(case.rax & ~OFFERED_CR4 or not case.rax & CR4_PAE),
        _refused,
        Privileged("mov cr4, rax", CR4 | 1 << 13),
    ),
    Erratum(
        "DR6 and DR7 take bits 63-32",
        "vol. 2, MOV - debug registers: #GP(0) if bits 63-32 of DR6 or DR7 are set",
        lambda case: case.text in ("mov dr6, rax", "mov dr7, rax") and case.rax > MASK_32,
        _refused,
        Privileged("mov dr6, rax", 1 << 32),
    ),
    Erratum(
        "DR6 keeps bit 12",
        "vol. 3, figure 18-1: bit 12 of DR6 is 0",
        lambda case: case.text == "mov dr6, rax" and bool(case.rax & DR6_BIT_12),
        _with(dr6=lambda _case, value: value & ~DR6_BIT_12),
        Privileged("mov dr6, rax", DR6_BIT_12),
    ),
    Erratum(
        "DR7.GD detects nothing",
        "vol. 3, 18.2.4: with GD set, #DB before the next MOV from or to a debug register",
        lambda case: case.text == "mov dr7, rax" and case.rax <= MASK_32 and bool(case.rax & DR7_GD),
        lambda _case, _left: Left(DEBUG, {}),
        Privileged("mov dr7, rax", DR7_GD),
    ),
    Erratum(
        "LGDT and LIDT take a base that is not canonical",
        "vol. 2, LGDT/LIDT: #GP(0) if the base is non-canonical",
        lambda case: (
            case.text.startswith(("lgdt", "lidt")) and not canonical(int.from_bytes(case.operand[2:], "little"))
        ),
        _refused,
        Privileged("lgdt [rbx]", operand=bytes(2) + (1 << 47).to_bytes(8, "little")),
    ),
    Erratum(
        "LTR takes a null selector",
        "vol. 2, LTR: #GP(0) if the source is a NULL selector",
        lambda case: case.text == "ltr ax" and not case.rax & 0xFFFC,
        _refused,
        Privileged("ltr ax", 3),
    ),
)


def expected(case: Privileged) -> Left:
    """What a processor leaves of `case`: what the engine does at CPL 0, mended where the manual says otherwise."""
    found = [erratum for erratum in ERRATA if erratum.applies(case)]
    if any(erratum.mend is _refused for erratum in found):
        return REFUSED
    left = natively(case)
    for erratum in found:
        left = erratum.mend(case, left)
    return left
