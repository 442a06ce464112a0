"""LGDT, LIDT, LLDT and LTR: where the guest keeps its descriptors, gates and task state. And what tells it.

SDM vol. 2, LGDT/LIDT, LLDT, LTR, SGDT, SIDT, SLDT, STR. None of them reaches the processor: its own GDT is empty, so
that every segment load exits, and the engine reads the guest's tables when it delivers an event. SGDT, SIDT, SLDT and
STR do not trap: they show the processor's own tables but where a translator or an intercept leaves them to the monitor.
"""

from __future__ import annotations

from typing import Protocol, cast

from pv.dispatch import Row
from pv.emulate.architecture import GENERAL_PROTECTION, GP_0, canonical
from pv.emulate.decode import InstructionExit
from pv.emulate.descriptors import LDT, TSS_AVAILABLE, TSS_BUSY, system_descriptor
from pv.emulate.operands import effective_address, read_word, write_word
from pv.engines.base import GuestFault, Vcpu
from pv.exits import NEXT, Reason, Reply


class LocalTable(Protocol):
    """Where the LDT lies: fields that the engine's VirtualCpu has beside ldt_selector."""

    ldt_base: int
    ldt_limit: int


def descriptor_table_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """LGDT and LIDT (keys 0, 1), LLDT and LTR (keys 0, 1)."""
    virtual = vcpu.virtual
    local = cast(LocalTable, virtual)

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
        base = limit = 0  # of a null selector, which says that there is no table
        if selector & ~3:
            table = system_descriptor(vcpu, selector, LDT)
            base, limit = table.base, table.limit
        local.ldt_base, local.ldt_limit = base, limit
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


def descriptor_table_store_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """SGDT and SIDT (keys 2, 3 of their reason), SLDT and STR (likewise)."""
    virtual = vcpu.virtual

    def store(exit: InstructionExit, base: int, limit: int) -> Reply:
        """Ten bytes, whatever the operand-size prefix says."""
        pseudo_descriptor = limit.to_bytes(2, "little") + base.to_bytes(8, "little")
        vcpu.write_linear(effective_address(vcpu, exit.insn), pseudo_descriptor)
        return NEXT

    def sgdt(exit: InstructionExit) -> Reply:
        return store(exit, virtual.gdt_base, virtual.gdt_limit)

    def sidt(exit: InstructionExit) -> Reply:
        return store(exit, virtual.idt_base, virtual.idt_limit)

    def sldt(exit: InstructionExit) -> Reply:
        write_word(vcpu, exit.insn, virtual.ldt_selector)
        return NEXT

    def str_(exit: InstructionExit) -> Reply:
        write_word(vcpu, exit.insn, virtual.tr_selector)
        return NEXT

    return [
        Row(Reason.GDTR_IDTR, 2, 2, sgdt, owner, "SGDT"),
        Row(Reason.GDTR_IDTR, 3, 3, sidt, owner, "SIDT"),
        Row(Reason.LDTR_TR, 2, 2, sldt, owner, "SLDT"),
        Row(Reason.LDTR_TR, 3, 3, str_, owner, "STR"),
    ]
