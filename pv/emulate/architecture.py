"""Which bits and vectors do the emulated instructions speak of? Declared once, named as the SDM names them.

Intel SDM vol. 3: CR0 and CR4 in 2.5, IA32_EFER in 2.2.1, exceptions in table 6-1, debug registers in 18.2.
"""

from __future__ import annotations

from typing import Final

from pv.exits import fault

MASK_32: Final = (1 << 32) - 1
MASK_64: Final = (1 << 64) - 1

DIVIDE_ERROR: Final = 0
DEBUG: Final = 1
INVALID_OPCODE: Final = 6
SEGMENT_NOT_PRESENT: Final = 11
STACK_FAULT: Final = 12
GENERAL_PROTECTION: Final = 13

GP_0: Final = fault(GENERAL_PROTECTION, 0)
UD: Final = fault(INVALID_OPCODE)

CR0_PE: Final = 1 << 0
CR0_MP: Final = 1 << 1
CR0_EM: Final = 1 << 2
CR0_TS: Final = 1 << 3
CR0_ET: Final = 1 << 4
CR0_NE: Final = 1 << 5
CR0_WP: Final = 1 << 16
CR0_AM: Final = 1 << 18
CR0_NW: Final = 1 << 29
CR0_CD: Final = 1 << 30
CR0_PG: Final = 1 << 31
CR0_DEFINED: Final = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG

CR4_VME: Final = 1 << 0
CR4_PVI: Final = 1 << 1
CR4_TSD: Final = 1 << 2
CR4_DE: Final = 1 << 3
CR4_PSE: Final = 1 << 4
CR4_PAE: Final = 1 << 5
CR4_MCE: Final = 1 << 6
CR4_PGE: Final = 1 << 7
CR4_PCE: Final = 1 << 8
CR4_OSFXSR: Final = 1 << 9
CR4_OSXMMEXCPT: Final = 1 << 10
CR4_UMIP: Final = 1 << 11
CR4_VMXE: Final = 1 << 13
CR4_FSGSBASE: Final = 1 << 16
CR4_PCIDE: Final = 1 << 17
CR4_OSXSAVE: Final = 1 << 18
CR4_SMEP: Final = 1 << 20
CR4_SMAP: Final = 1 << 21

EFER_SCE: Final = 1 << 0
EFER_LME: Final = 1 << 8
EFER_LMA: Final = 1 << 10
EFER_NXE: Final = 1 << 11

DR6_WRITABLE: Final = 0x0000E00F  # B0-B3, BD, BS, BT
DR6_ONES: Final = 0xFFFF0FF0
DR6_BD: Final = 1 << 13
DR7_WRITABLE: Final = 0xFFFF23FF  # L, G, LE, GE, GD, R/W and LEN; not RTM
DR7_ONES: Final = 1 << 10
DR7_GD: Final = 1 << 13


def canonical(address: int) -> bool:
    """Whether bits 63-47 of a 64-bit linear address are equal (SDM vol. 1, 3.3.7.1)."""
    return (address + (1 << 47)) & MASK_64 < 1 << 48
