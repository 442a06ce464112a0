"""LGDT, LIDT, LLDT and LTR: where the guest keeps its descriptors, gates and task state.

SDM vol. 2, LGDT/LIDT, LLDT, LTR. None of them reaches the processor: its own GDT is empty, so that every segment
load exits, and the engine reads the guest's tables when it delivers an event. SGDT, SIDT, SLDT and STR do not
trap: they show the processor's own tables.
"""

from __future__ import annotations

from pv.dispatch import Row
from pv.emulate.architecture import GENERAL_PROTECTION, GP_0, SEGMENT_NOT_PRESENT, canonical
from pv.emulate.decode import InstructionExit
from pv.emulate.descriptors import (
    LDT,
    SYSTEM_BYTES,
    TSS_AVAILABLE,
    TSS_BUSY,
    Descriptor,
    local_table,
    read_descriptor,
    selector_error,
)  # fmt: skip
from pv.emulate.operands import effective_address, read_word
from pv.engines.base import GuestFault, Vcpu
from pv.exits import NEXT, Reason, Reply


def descriptor_table_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """LGDT and LIDT (keys 0, 1), LLDT and LTR (keys 0, 1)."""
    virtual = vcpu.virtual
    local = local_table(vcpu)

    def pseudo_descriptor(exit: InstructionExit) -> tuple[int, int]:
        """Base and limit in memory: 10 bytes, whatever the operand-size prefix says."""
        raw = vcpu.read_linear(effective_address(vcpu, exit.insn), 10)
        base = int.from_bytes(raw[2:], "little")
        if not canonical(base):
            raise GuestFault(GENERAL_PROTECTION, 0)
        return base, int.from_bytes(raw[:2], "little")

    def lgdt(exit: InstructionExit) -> Reply:
        virtual.gdt_base, virtual.gdt_limit = pseudo_descriptor(exit)
        return NEXT

    def lidt(exit: InstructionExit) -> Reply:
        virtual.idt_base, virtual.idt_limit = pseudo_descriptor(exit)
        return NEXT

    def lldt(exit: InstructionExit) -> Reply:
        selector = read_word(vcpu, exit.insn)
        if selector & ~3:  # a null selector says that there is no table
            table = system_descriptor(vcpu, selector, LDT)
            local.ldt_base, local.ldt_limit = table.base, table.limit
        virtual.ldt_selector = selector
        return NEXT

    def ltr(exit: InstructionExit) -> Reply:
        selector = read_word(vcpu, exit.insn)
        if not selector & ~3:
            return GP_0
        tss = system_descriptor(vcpu, selector, TSS_AVAILABLE)
        access = vcpu.read_linear(tss.gva + 5, 1)[0]
        vcpu.write_linear(tss.gva + 5, bytes((access & 0xF0 | TSS_BUSY,)))
        virtual.tr_selector, virtual.tr_base, virtual.tr_limit = selector, tss.base, tss.limit
        return NEXT

    return [
        Row(Reason.GDTR_IDTR, 0, 0, lgdt, owner, "LGDT"),
        Row(Reason.GDTR_IDTR, 1, 1, lidt, owner, "LIDT"),
        Row(Reason.LDTR_TR, 0, 0, lldt, owner, "LLDT"),
        Row(Reason.LDTR_TR, 1, 1, ltr, owner, "LTR"),
    ]


def system_descriptor(vcpu: Vcpu, selector: int, wanted: int) -> Descriptor:
    """The LDT or available TSS that `selector` names.

    Raises GuestFault: #GP(selector) for another type, a busy TSS or a base that is not canonical,
    #NP(selector) where it is not present.
    """
    descriptor = read_descriptor(vcpu, selector, SYSTEM_BYTES)
    if not descriptor.system or descriptor.type != wanted:
        raise GuestFault(GENERAL_PROTECTION, selector_error(selector))
    if not descriptor.present:
        raise GuestFault(SEGMENT_NOT_PRESENT, selector_error(selector))
    if not canonical(descriptor.base):
        raise GuestFault(GENERAL_PROTECTION, selector_error(selector))
    return descriptor
