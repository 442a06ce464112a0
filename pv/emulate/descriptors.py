"""What does a selector name in the guest's own tables?

SDM vol. 3, 3.4.5 (segments) and 7.2.3 (16-byte system descriptors of 64-bit mode). Descriptors are copied in
once and then checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, cast

from pv.emulate.architecture import GENERAL_PROTECTION, MASK_64
from pv.engines.base import GuestFault, Vcpu

SEGMENT_BYTES: Final = 8
SYSTEM_BYTES: Final = 16
TABLE_INDICATOR: Final = 1 << 2  # of a selector: the LDT, not the GDT
LDT: Final = 2
TSS_AVAILABLE: Final = 9
TSS_BUSY: Final = 11
CODE: Final = 1 << 3  # of a segment's type
WRITABLE: Final = 1 << 1  # of a data segment's type


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One descriptor. gva: where it stands. limit: bytes less one. system: not a code or data segment."""

    gva: int
    base: int
    limit: int
    type: int
    system: bool
    dpl: int
    present: bool


class LocalTable(Protocol):
    """Where the LDT lies: fields that the engine's VirtualCpu has beside ldt_selector."""

    ldt_selector: int
    ldt_base: int
    ldt_limit: int


def local_table(vcpu: Vcpu) -> LocalTable:
    """`vcpu.virtual` as the holder of the LDT's base and limit."""
    return cast(LocalTable, vcpu.virtual)


def selector_error(selector: int) -> int:
    """The error code that names `selector`: its RPL bits are not part of it (SDM vol. 3, 6.13)."""
    return selector & 0xFFFC


def read_descriptor(vcpu: Vcpu, selector: int, size_bytes: int) -> Descriptor:
    """The descriptor of `size_bytes` (8 or 16) that `selector` names in the GDT; one of 8 bytes also in the LDT.

    Raises GuestFault: #GP(selector) where it lies beyond its table or is malformed; what the read of guest
    memory raises.
    """
    base, limit = vcpu.virtual.gdt_base, vcpu.virtual.gdt_limit
    if selector & TABLE_INDICATOR:
        virtual = local_table(vcpu)
        loaded = virtual.ldt_selector & ~3 and size_bytes == SEGMENT_BYTES
        base, limit = virtual.ldt_base, virtual.ldt_limit if loaded else -1
    offset = selector & 0xFFF8
    if offset + size_bytes - 1 > limit:
        raise GuestFault(GENERAL_PROTECTION, selector_error(selector))
    gva = (base + offset) & MASK_64
    raw = int.from_bytes(vcpu.read_linear(gva, size_bytes), "little")
    if size_bytes == SYSTEM_BYTES and raw >> 104 & 0x1F:  # a type in the upper half: not one descriptor but two
        raise GuestFault(GENERAL_PROTECTION, selector_error(selector))
    limit = raw & 0xFFFF | raw >> 32 & 0xF0000
    return Descriptor(
        gva=gva,
        base=raw >> 16 & 0xFFFFFF | (raw >> 56 & 0xFF) << 24 | (raw >> 64 & 0xFFFFFFFF) << 32,
        limit=limit << 12 | 0xFFF if raw >> 55 & 1 else limit,
        type=raw >> 40 & 0xF,
        system=not raw >> 44 & 1,
        dpl=raw >> 45 & 3,
        present=bool(raw >> 47 & 1),
    )
