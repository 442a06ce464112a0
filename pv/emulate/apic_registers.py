"""CR8, IA32_APIC_BASE and the MSRs of x2APIC mode: the registers of the local APIC that are not in its page.

SDM vol. 3, 11.8.6 (CR8 is bits 7-4 of the TPR), 11.4.4 and 11.12. The page cannot be moved: a write of another address
or of the BSP bit raises #GP(0), as does an illegal change of mode.
"""

from __future__ import annotations

from pv.devices.local_apic import LocalApic
from pv.devices.x2apic import FIRST, LAST, REFUSED, read_msr, write_msr
from pv.dispatch import Row
from pv.emulate.architecture import GP_0, MASK_32
from pv.emulate.decode import InstructionExit
from pv.engines.base import Vcpu
from pv.exits import NEXT, Direction, Reason, Reply

CR8: int = 8 * 2
APIC_BASE: int = 0x1B


def apic_rows(vcpu: Vcpu, apic: LocalApic, owner: str) -> list[Row]:
    """Read and write of each. virtual.cr8 always holds what CR8 reads as: the APIC tells of a write of its TPR."""
    virtual = vcpu.virtual

    def read_cr8(exit: InstructionExit) -> Reply:
        vcpu.set(exit.insn.register, virtual.cr8)
        return NEXT

    def write_cr8(exit: InstructionExit) -> Reply:
        value = vcpu.get(exit.insn.register)
        if value > 15:
            return GP_0
        virtual.cr8 = value
        apic.set_priority_class(value)
        return NEXT

    def read_base(_exit: InstructionExit) -> Reply:
        base = apic.base
        vcpu.rax, vcpu.rdx = base & MASK_32, base >> 32
        return NEXT

    def write_base(exit: InstructionExit) -> Reply:
        return NEXT if apic.write_base(exit.value) else GP_0

    def read_register(exit: InstructionExit) -> Reply:
        value = read_msr(apic, exit.key)
        if value == REFUSED:
            return GP_0
        vcpu.rax, vcpu.rdx = value & MASK_32, value >> 32
        return NEXT

    def write_register(exit: InstructionExit) -> Reply:
        return NEXT if write_msr(apic, exit.key, exit.value) else GP_0

    read, write = CR8 + Direction.READ, CR8 + Direction.WRITE
    return [
        Row(Reason.CR_ACCESS, read, read, read_cr8, owner, "CR8 read"),
        Row(Reason.CR_ACCESS, write, write, write_cr8, owner, "CR8 write"),
        Row(Reason.MSR_READ, APIC_BASE, APIC_BASE, read_base, owner, "IA32_APIC_BASE"),
        Row(Reason.MSR_WRITE, APIC_BASE, APIC_BASE, write_base, owner, "IA32_APIC_BASE"),
        Row(Reason.MSR_READ, FIRST, LAST, read_register, owner, "x2APIC"),
        Row(Reason.MSR_WRITE, FIRST, LAST, write_register, owner, "x2APIC"),
    ]
