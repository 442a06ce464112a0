"""Which system segment does a selector name in the guest's own GDT? LDTs and task states, for LLDT and LTR.

SDM vol. 3, 8.2.3: 16 bytes each in 64-bit mode. A descriptor is copied in once and then checked. Code and data
segments are the engine's: it loads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pv.emulate.architecture import GENERAL_PROTECTION, MASK_64, SEGMENT_NOT_PRESENT, canonical
from pv.engines.base import GuestFault, Vcpu

SYSTEM_BYTES: Final = 16
TABLE_INDICATOR: Final = 1 << 2  # of a selector: the LDT, not the GDT
LDT: Final = 2
TSS_AVAILABLE: Final = 9
TSS_BUSY: Final = 11


@dataclass(frozen=True, slots=True)
class SystemDescriptor:
    """gva: where the descriptor stands. base and limit (bytes less one) of what it describes."""

    gva: int
    base: int
    limit: int


def selector_error(selector: int) -> int:
    """The error code that names `selector`: its RPL bits are not part of it (SDM vol. 3, 6.13)."""
    return selector & 0xFFFC


def system_descriptor(vcpu: Vcpu, selector: int, wanted: int) -> SystemDescriptor:
    """The descriptor of type `wanted` (LDT, TSS_AVAILABLE) that `selector` names.

    Raises GuestFault: #GP(selector) where it lies in the LDT or beyond the GDT's limit, is of another type, busy
    or has a base that is not canonical; #NP(selector) where it is not present; what the read of memory raises.
    """
    malformed = GuestFault(GENERAL_PROTECTION, selector_error(selector))
    offset = selector & 0xFFF8
    if selector & TABLE_INDICATOR or offset + SYSTEM_BYTES - 1 > vcpu.virtual.gdt_limit:
        raise malformed
    gva = (vcpu.virtual.gdt_base + offset) & MASK_64
    raw = int.from_bytes(vcpu.read_linear(gva, SYSTEM_BYTES), "little")
    if raw >> 40 & 0x1F != wanted or raw >> 104 & 0x1F:  # S and type; the upper half must look like nothing
        raise malformed
    if not raw >> 47 & 1:
        raise GuestFault(SEGMENT_NOT_PRESENT, selector_error(selector))
    base = raw >> 16 & 0xFFFFFF | (raw >> 56 & 0xFF) << 24 | (raw >> 64 & 0xFFFFFFFF) << 32
    if not canonical(base):
        raise malformed
    limit = raw & 0xFFFF | raw >> 32 & 0xF0000
    return SystemDescriptor(gva, base, limit << 12 | 0xFFF if raw >> 55 & 1 else limit)
