"""MOV and POP to a segment register, LSS, LFS, LGS and SWAPGS: segments the guest loads from its own GDT.

The processor's GDT is empty, so each load of a selector that is not null exits; the vcpu does the load itself with the
guest's privilege, and raises what the processor would (SDM vol. 2, MOV, POP, LDS/LES/LFS/LGS/LSS, SWAPGS).
"""

from __future__ import annotations

from pv.dispatch import Row
from pv.emulate.architecture import MASK_64
from pv.emulate.decode import InstructionExit
from pv.emulate.operands import effective_address, read_uint, read_word, write_register
from pv.engines.base import Vcpu
from pv.exits import NEXT, Reason, Reply

SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS")
RSP = 4


def segment_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """One row for each segment register but CS, and SWAPGS. A load that faults changes no register."""

    def mov(exit: InstructionExit) -> Reply:
        vcpu.load_segment(exit.key, read_word(vcpu, exit.insn))
        return NEXT

    def pop(exit: InstructionExit) -> Reply:
        rsp = vcpu.get(RSP)
        vcpu.load_segment(exit.key, read_uint(vcpu, rsp, 2))
        vcpu.set(RSP, (rsp + exit.insn.operand_bytes) & MASK_64)
        return NEXT

    def load_far_pointer(exit: InstructionExit) -> Reply:
        insn = exit.insn
        pointer = read_uint(vcpu, effective_address(vcpu, insn), insn.operand_bytes + 2)
        vcpu.load_segment(exit.key, pointer >> insn.operand_bytes * 8)
        offset = pointer & ((1 << insn.operand_bytes * 8) - 1)
        write_register(vcpu, insn.register, offset, insn.operand_bytes)
        return NEXT

    by_mnemonic = {"mov": mov, "pop": pop, "lss": load_far_pointer, "lfs": load_far_pointer, "lgs": load_far_pointer}

    def load(exit: InstructionExit) -> Reply:
        return by_mnemonic[exit.insn.mnemonic](exit)

    def swapgs(_exit: InstructionExit) -> Reply:
        vcpu.swap_gs()
        return NEXT

    rows = [
        Row(Reason.SEGMENT_LOAD, number, number, load, owner, f"{name} load")
        for number, name in enumerate(SEGMENTS)
        if name != "CS"
    ]
    return [*rows, Row(Reason.SWAPGS, 0, 0, swapgs, owner, "SWAPGS")]
