"""MOV to and from CR0, CR2, CR3 and CR4, CLTS, LMSW and SMSW: the control registers the guest believes in.

Checks are those of SDM vol. 2, MOV - Move to/from Control Registers, for 64-bit mode, and of vol. 3, 2.5.
A bit of CR4 is reserved where CPUID does not offer its feature. The guest's paging bits never reach the
processor: they change what the shadow tables are filled with, so the shadow is flushed. CR0.EM has no
register of its own beneath, so that EM, as TS, makes FPU use raise #NM (SSE would raise #UD under EM).
SMSW does not trap and shows the processor's own CR0; under hardware it exits where reads of CR0 do.
CR8 belongs to the local APIC (pv.emulate.apic_registers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pv.dispatch import Row
from pv.emulate.architecture import (
    CR0_CD,
    CR0_DEFINED,
    CR0_EM,
    CR0_ET,
    CR0_MP,
    CR0_NW,
    CR0_PE,
    CR0_PG,
    CR0_TS,
    CR0_WP,
    CR4_DE,
    CR4_OSFXSR,
    CR4_OSXMMEXCPT,
    CR4_PAE,
    CR4_PCE,
    CR4_PGE,
    CR4_PSE,
    CR4_TSD,
    GP_0,
    MASK_32,
    UD,
)  # fmt: skip
from pv.emulate.cpuid import EDX, Cpuid
from pv.emulate.decode import InstructionExit
from pv.emulate.operands import read_word, write_word
from pv.engines.base import Vcpu
from pv.exits import NEXT, Direction, Reason, Reply

Handler = Callable[[InstructionExit], Reply]

CR4_FEATURES: Final = {  # bits of CR4: the CPUID leaf, register and bit that offer them; what CPUID hides is absent
    CR4_TSD: (1, EDX, 4),
    CR4_DE: (1, EDX, 2),
    CR4_PSE: (1, EDX, 3),
    CR4_PAE: (1, EDX, 6),
    CR4_PGE: (1, EDX, 13),
    CR4_OSFXSR: (1, EDX, 24),
    CR4_OSXMMEXCPT: (1, EDX, 25),
}
CR4_OF_SHADOW: Final = CR4_PSE | CR4_PAE | CR4_PGE  # a change of these empties the TLB (SDM vol. 3, 4.10.4.1)
TASK_PRIORITY: Final = 8  # the local APIC brings the rows of CR8
LMSW_BITS: Final = CR0_PE | CR0_MP | CR0_EM | CR0_TS


def writable_cr4(cpuid: Cpuid) -> int:
    """The bits of CR4 that are not reserved on the processor that `cpuid` describes."""
    offered = CR4_PCE  # comes with RDPMC, which has no CPUID bit
    for bit, (leaf, register, position) in CR4_FEATURES.items():
        if cpuid(leaf, 0)[register] >> position & 1:
            offered |= bit
    return offered


def reserved_address_bits(cpuid: Cpuid) -> int:
    """The bits of CR3 that must be 0: those from MAXPHYADDR on (CPUID 0x80000008 EAX[7:0]; 36 without the leaf)."""
    return ~((1 << (cpuid(0x8000_0008, 0)[0] & 0xFF or 36)) - 1)


def control_register_rows(vcpu: Vcpu, cpuid: Cpuid, owner: str) -> list[Row]:
    """A row for each control register and direction; CR1, CR5-CR7 and CR9-CR15 get #UD."""
    handlers: dict[tuple[int, Direction], Handler] = {
        (0, Direction.WRITE): _cr0_writer(vcpu),
        (2, Direction.WRITE): _cr2_writer(vcpu),
        (3, Direction.WRITE): _cr3_writer(vcpu, reserved_address_bits(cpuid)),
        (4, Direction.WRITE): _cr4_writer(vcpu, writable_cr4(cpuid)),
    }
    for number in (0, 2, 3, 4):
        handlers[number, Direction.READ] = _reader(vcpu, f"cr{number}")
    handlers[0, Direction.READ] = _cr0_reader(vcpu)
    rows = []
    for number in sorted(set(range(16)) - {TASK_PRIORITY}):
        for direction in Direction:
            key = number * 2 + direction
            name = f"CR{number} {direction.name.lower()}"
            handler = handlers.get((number, direction), _undefined)
            rows.append(Row(Reason.CR_ACCESS, key, key, handler, owner, name))
    return rows


def _undefined(_exit: InstructionExit) -> Reply:
    return UD


def _reader(vcpu: Vcpu, name: str) -> Handler:
    virtual, put = vcpu.virtual, vcpu.set

    def read(exit: InstructionExit) -> Reply:
        put(exit.insn.register, getattr(virtual, name))
        return NEXT

    return read


def _cr0_reader(vcpu: Vcpu) -> Handler:
    mov = _reader(vcpu, "cr0")

    def read(exit: InstructionExit) -> Reply:
        insn = exit.insn
        if insn.mnemonic == "mov":
            return mov(exit)
        write_word(vcpu, insn, vcpu.virtual.cr0)  # SMSW
        return NEXT

    return read


def _cr0_writer(vcpu: Vcpu) -> Handler:
    virtual = vcpu.virtual

    def load(value: int) -> Reply:
        value = value & CR0_DEFINED | CR0_ET  # undefined bits below 32 are ignored, ET is fixed
        changed = virtual.cr0 ^ value
        virtual.cr0 = value
        if changed & (CR0_TS | CR0_EM | CR0_MP):
            vcpu.set_task_switched(bool(value & (CR0_TS | CR0_EM)))
        if changed & CR0_WP:
            vcpu.shadow.flush()
        return NEXT

    def mov(exit: InstructionExit) -> Reply:
        value = vcpu.get(exit.insn.register)
        if value > MASK_32 or value & (CR0_PE | CR0_PG) != CR0_PE | CR0_PG:
            return GP_0  # PG without PE never; PG cannot be cleared in 64-bit mode
        if value & (CR0_NW | CR0_CD) == CR0_NW:
            return GP_0
        return load(value)

    def lmsw(exit: InstructionExit) -> Reply:
        word = read_word(vcpu, exit.insn)
        return load(virtual.cr0 & ~(LMSW_BITS & ~CR0_PE) | word & LMSW_BITS)  # LMSW sets PE, never clears it

    def clts(_exit: InstructionExit) -> Reply:
        return load(virtual.cr0 & ~CR0_TS)

    by_mnemonic = {"mov": mov, "lmsw": lmsw, "clts": clts}

    def write(exit: InstructionExit) -> Reply:
        return by_mnemonic[exit.insn.mnemonic](exit)

    return write


def _cr2_writer(vcpu: Vcpu) -> Handler:
    def write(exit: InstructionExit) -> Reply:
        vcpu.virtual.cr2 = vcpu.get(exit.insn.register)
        return NEXT

    return write


def _cr3_writer(vcpu: Vcpu, reserved: int) -> Handler:
    virtual, get, load = vcpu.virtual, vcpu.get, vcpu.shadow.load

    def write(exit: InstructionExit) -> Reply:
        value = get(exit.insn.register)
        if value & reserved:
            return GP_0
        virtual.cr3 = value
        load(value)
        return NEXT

    return write


def _cr4_writer(vcpu: Vcpu, writable: int) -> Handler:
    virtual = vcpu.virtual

    def write(exit: InstructionExit) -> Reply:
        value = vcpu.get(exit.insn.register)
        if value & ~writable or not value & CR4_PAE:
            return GP_0  # a reserved bit, or an attempt to leave long mode
        changed = virtual.cr4 ^ value
        virtual.cr4 = value
        if changed & CR4_OF_SHADOW:
            vcpu.shadow.flush()
        return NEXT

    return write
