"""RDMSR and WRMSR: which model-specific registers has the guest, where do they live, what may be written?

One line of MSRS each; an index that is not there is #GP(0), as on a processor (SDM vol. 2, RDMSR, WRMSR;
vol. 4, table 2-2). Each becomes two exact-key rows, so that a plugin's MSRs and the local
APIC's (pv.emulate.apic_registers) stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pv.dispatch import ANY_KEY, Row
from pv.emulate.architecture import (
    EFER_LMA,
    EFER_LME,
    EFER_NXE,
    EFER_SCE,
    GP_0,
    MASK_32,
    MASK_64,
    canonical,
)  # fmt: skip
from pv.emulate.cpuid import EDX, Cpuid
from pv.emulate.decode import InstructionExit
from pv.emulate.system_registers import SystemRegisters
from pv.emulate.time_stamp import read_tsc
from pv.engines.base import Vcpu
from pv.exits import NEXT, Reason, Reply

Handler = Callable[[InstructionExit], Reply]
Check = Callable[[int, int], bool]  # old value, new value -> whether the new one may be written

MEMORY_TYPES: Final = frozenset((0, 1, 4, 5, 6))  # UC WC WT WP WB (SDM vol. 3, table 11-8)
PAT_TYPES: Final = MEMORY_TYPES | {7}  # and UC-
MTRR_ENABLE: Final = 1 << 11


def anything(_old: int, _new: int) -> bool:
    """Every 64-bit value."""
    return True


def nothing(_old: int, _new: int) -> bool:
    """A read-only register."""
    return False


def zero(_old: int, new: int) -> bool:
    return new == 0


def canonical_address(_old: int, new: int) -> bool:
    return canonical(new)


def low_half(_old: int, new: int) -> bool:
    """Bits 63-32 are reserved."""
    return new <= MASK_32


def pat_entries(_old: int, new: int) -> bool:
    """Eight memory types, a byte each (SDM vol. 3, 11.12.2)."""
    return all(entry in PAT_TYPES for entry in new.to_bytes(8, "little"))


def default_memory_type(_old: int, new: int) -> bool:
    """IA32_MTRR_DEF_TYPE: a type and E; FE is reserved as there are no fixed ranges."""
    return new & ~(MTRR_ENABLE | 0xFF) == 0 and new & 0xFF in MEMORY_TYPES


def fast_strings(old: int, new: int) -> bool:
    """IA32_MISC_ENABLE: bit 0 alone may change."""
    return (old ^ new) & ~1 == 0


@dataclass(frozen=True, slots=True)
class Msr:
    """One register: `field` of `place` holds it ("virtual", "system", or "vcpu" itself)."""

    index: int
    name: str
    place: str
    field: str
    writable: Check


MSRS: Final = (
    Msr(0x0000_008B, "IA32_BIOS_SIGN_ID", "system", "microcode_revision", zero),
    Msr(0x0000_00FE, "IA32_MTRRCAP", "system", "mtrr_capabilities", nothing),
    Msr(0x0000_0174, "IA32_SYSENTER_CS", "system", "sysenter_cs", anything),
    Msr(0x0000_0175, "IA32_SYSENTER_ESP", "system", "sysenter_esp", canonical_address),
    Msr(0x0000_0176, "IA32_SYSENTER_EIP", "system", "sysenter_eip", canonical_address),
    Msr(0x0000_01A0, "IA32_MISC_ENABLE", "system", "misc_enable", fast_strings),
    Msr(0x0000_0277, "IA32_PAT", "system", "pat", pat_entries),
    Msr(0x0000_02FF, "IA32_MTRR_DEF_TYPE", "system", "mtrr_default_type", default_memory_type),
    Msr(0xC000_0081, "IA32_STAR", "virtual", "star", anything),
    Msr(0xC000_0082, "IA32_LSTAR", "virtual", "lstar", canonical_address),
    Msr(0xC000_0083, "IA32_CSTAR", "virtual", "cstar", canonical_address),
    Msr(0xC000_0084, "IA32_FMASK", "virtual", "fmask", low_half),
    Msr(0xC000_0100, "IA32_FS_BASE", "vcpu", "fs_base", canonical_address),
    Msr(0xC000_0101, "IA32_GS_BASE", "vcpu", "gs_base", canonical_address),
    Msr(0xC000_0102, "IA32_KERNEL_GS_BASE", "virtual", "kernel_gs_base", canonical_address),
    Msr(0xC000_0103, "IA32_TSC_AUX", "virtual", "tsc_aux", low_half),
)
TSC_INDEX: Final = 0x10
EFER_INDEX: Final = 0xC000_0080


def writable_efer(cpuid: Cpuid) -> int:
    """The bits of IA32_EFER that are not reserved on the processor that `cpuid` describes."""
    offered = cpuid(0x8000_0001, 0)[EDX]
    return (
        (EFER_SCE if offered >> 11 & 1 else 0)
        | (EFER_LME | EFER_LMA if offered >> 29 & 1 else 0)
        | (EFER_NXE if offered >> 20 & 1 else 0)
    )


def msr_rows(vcpu: Vcpu, system: SystemRegisters, cpuid: Cpuid, owner: str) -> list[Row]:
    """Two rows for each register, and one for all other indices."""
    places: dict[str, Any] = {"virtual": vcpu.virtual, "system": system, "vcpu": vcpu}
    rows = [
        Row(Reason.MSR_READ, ANY_KEY, ANY_KEY, no_such_msr, owner, "RDMSR"),
        Row(Reason.MSR_WRITE, ANY_KEY, ANY_KEY, no_such_msr, owner, "WRMSR"),
    ]

    def add(index: int, name: str, read: Callable[[], int], write: Callable[[int], bool]) -> None:
        rows.append(Row(Reason.MSR_READ, index, index, _rdmsr(vcpu, read), owner, name))
        rows.append(Row(Reason.MSR_WRITE, index, index, _wrmsr(write), owner, name))

    for msr in MSRS:
        add(msr.index, msr.name, *_stored(places[msr.place], msr))
    add(EFER_INDEX, "IA32_EFER", *_efer(vcpu, writable_efer(cpuid)))
    add(TSC_INDEX, "IA32_TIME_STAMP_COUNTER", *_tsc(vcpu))
    return rows


def no_such_msr(_exit: InstructionExit) -> Reply:
    return GP_0


def _rdmsr(vcpu: Vcpu, read: Callable[[], int]) -> Handler:
    def rdmsr(_exit: InstructionExit) -> Reply:
        value = read()
        vcpu.rax = value & MASK_32
        vcpu.rdx = value >> 32
        return NEXT

    return rdmsr


def _wrmsr(write: Callable[[int], bool]) -> Handler:
    def wrmsr(exit: InstructionExit) -> Reply:
        return NEXT if write(exit.value) else GP_0

    return wrmsr


def _stored(place: Any, msr: Msr) -> tuple[Callable[[], int], Callable[[int], bool]]:
    field, writable = msr.field, msr.writable

    def read() -> int:
        value: int = getattr(place, field)
        return value

    def write(value: int) -> bool:
        allowed = writable(getattr(place, field), value)
        if allowed:
            setattr(place, field, value)
        return allowed

    return read, write


def _efer(vcpu: Vcpu, offered: int) -> tuple[Callable[[], int], Callable[[int], bool]]:
    """LMA is read-only and a write of it is ignored; LME cannot change while paging is on (SDM vol. 3, 2.2.1)."""
    virtual = vcpu.virtual

    def read() -> int:
        return virtual.efer

    def write(value: int) -> bool:
        if value & ~offered or (virtual.efer ^ value) & EFER_LME:
            return False
        value = value & ~EFER_LMA | virtual.efer & EFER_LMA
        changed = virtual.efer ^ value
        virtual.efer = value
        if changed & EFER_NXE:
            vcpu.shadow.flush()
        return True

    return read, write


def _tsc(vcpu: Vcpu) -> tuple[Callable[[], int], Callable[[int], bool]]:
    def read() -> int:
        return read_tsc(vcpu)

    def write(value: int) -> bool:
        vcpu.virtual.tsc_offset = (value - vcpu.now_ns) & MASK_64
        return True

    return read, write
