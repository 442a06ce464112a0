"""What is put into a block for one instruction of the guest? A function for each kind of policy, and the table of them.

Each is handed the block, the decoded instruction, its row and its bytes, and says where the block goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from iced_x86 import Code, Decoder, DecoderOptions, OpKind, Register, RegisterExt

from pv.emulate.architecture import MASK_32
from pv.emulate.decode import address_of
from pv.translate import callouts, sequences
from pv.translate.callouts import Kind
from pv.translate.draft import CR0, CS, GDTR, IDTR, LDTR, OPTIONS, TR, Draft
from pv.translate.policy import After, How, Policy

SEGMENT_MOVES: Final = {Code.MOV_RM16_SREG: 2, Code.MOV_R32M16_SREG: 4, Code.MOV_R64M16_SREG: 8}
SHOWN: Final = {  # what it is made by, where the guest's value is, and the width of a destination that is a register
    Code.SLDT_RM16: (LDTR, "ldt_selector", 2),
    Code.SLDT_R32M16: (LDTR, "ldt_selector", 4),
    Code.SLDT_R64M16: (LDTR, "ldt_selector", 8),
    Code.STR_RM16: (TR, "tr_selector", 2),
    Code.STR_R32M16: (TR, "tr_selector", 4),
    Code.STR_R64M16: (TR, "tr_selector", 8),
    Code.SMSW_RM16: (CR0, "cr0", 2),
    Code.SMSW_R32M16: (CR0, "cr0", 4),
    Code.SMSW_R64M16: (CR0, "cr0", 8),
}


def identical(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    """A copy. Other rows come here with what is not to be copied as it is: an operand relative to RIP."""
    if instruction.is_ip_rel_memory_operand:
        offsets = block.decoder.get_constant_offsets(instruction)
        copy = sequences.absolute(instruction, raw, offsets.displacement_offset) or sequences.far_away(instruction)
        block.part(copy or callouts.STEP)
    else:
        block.part(raw)
    return row.after


def nothing(block: Draft, _instruction: Any, row: Policy, _raw: bytes) -> After:
    block.part(sequences.NOTHING)
    return row.after


def undefined(block: Draft, _instruction: Any, row: Policy, _raw: bytes) -> After:
    block.part(sequences.UNDEFINED)
    return row.after


def step(block: Draft, _instruction: Any, row: Policy, _raw: bytes) -> After:
    block.part(callouts.STEP)
    return row.after


def exit(block: Draft, _instruction: Any, row: Policy, _raw: bytes) -> After:
    block.part(callouts.INSTRUCTION)
    return row.after


def invalid(block: Draft, _instruction: Any, row: Policy, _raw: bytes) -> After:
    """A control register that there is not is the monitor's to refuse, all else the processor's."""
    rest = block.code[block.at : block.at + sequences.LONGEST]
    anyway = Decoder(64, rest, OPTIONS | DecoderOptions.NO_INVALID_CHECK, ip=block.rip + block.at).decode()
    if anyway.code in (Code.MOV_R64_CR, Code.MOV_CR_R64) and not anyway.has_lock_prefix:
        block.part(callouts.INSTRUCTION)
        return After.LINK
    block.part(callouts.STEP)
    return row.after


def flags(block: Draft, instruction: Any, row: Policy, _raw: bytes) -> After:
    size = 2 if instruction.code in (Code.PUSHFW, Code.POPFW) else 8
    block.part(callouts.flags(Kind.PUSHF if row.how == How.PUSHF else Kind.POPF, size))
    return row.after


def selector(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    """MOV from a segment register."""
    if instruction.op1_register == Register.SS:
        return exit(block, instruction, row, raw)
    if instruction.op1_register == Register.CS:
        return shown(block, sequences.show(instruction, block.cs, SEGMENT_MOVES[instruction.code]), CS, row)
    return identical(block, instruction, row, raw)


def sequence(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    code, virtual = instruction.code, block.virtual
    if code == Code.CLI:
        block.part(sequences.CLI)
    elif code == Code.STI:
        block.part(sequences.STI)
        block.inner_part(sequences.WINDOW, block.at + len(raw))
    elif code in (Code.SGDT_M1664, Code.SIDT_M1664):
        which, base, limit = (
            (GDTR, virtual.gdt_base, virtual.gdt_limit)
            if code == Code.SGDT_M1664
            else (IDTR, virtual.idt_base, virtual.idt_limit)
        )
        shown(block, sequences.show_table(instruction, base, limit), which, row)
    else:
        which, name, size = SHOWN[code]
        shown(block, sequences.show(instruction, getattr(virtual, name), size), which, row)
    return row.after


def shown(block: Draft, parts: list[sequences.Part] | None, bake: int, row: Policy) -> After:
    """A sequence of immediates; what can't be encoded is the monitor's."""
    if parts is None:
        block.part(callouts.INSTRUCTION)
    else:
        block.parts(parts)
        block.bakes |= bake
    return row.after


def jump(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    if sequences.has_operand_size(raw):
        return step(block, instruction, row, raw)
    block.go_to(instruction.near_branch_target)
    return row.after


def condition(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    if sequences.has_operand_size(raw):
        block.part(callouts.STEP)
        return After.NEVER
    opcode = raw[-2] + 0x10 if instruction.is_jcc_short else raw[-5]
    block.part(sequences.CONDITION + bytes((opcode,)) + bytes(4))
    block.pending.append((len(block.out) - 4, instruction.near_branch_target))
    return row.after


def count(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    """LOOP and JRCXZ, taken: over a short jump to the stub behind it."""
    if sequences.has_operand_size(raw):
        block.part(callouts.STEP)
        return After.NEVER
    block.part(raw[:-1] + bytes((sequences.SHORT_JUMP_BYTES,)))
    jump = len(block.out)
    block.inner_part(sequences.SHORT_JUMP + b"\0", block.at + len(raw))
    block.stub(instruction.near_branch_target)
    block.out[jump + 2] = len(block.out) - jump - sequences.SHORT_JUMP_BYTES
    return row.after


def call(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    if sequences.has_operand_size(raw):
        return step(block, instruction, row, raw)
    block.parts(sequences.push_return(instruction.next_ip))
    block.stub(instruction.near_branch_target)
    return row.after


def indirect(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    if sequences.has_operand_size(raw):
        return step(block, instruction, row, raw)
    kind = callouts.IS_CALL if instruction.code == Code.CALL_RM64 else 0
    if instruction.op0_kind == OpKind.REGISTER:
        number = RegisterExt.number(instruction.op0_register)
        block.part(callouts.branch(kind | callouts.IN_REGISTER, number, -1, -1, 1, len(raw), 0))
        return row.after
    base, index, scale, displacement, segment, mask = address_of(instruction)
    kind |= callouts.SHORT_ADDRESS if mask == MASK_32 else 0
    block.part(callouts.branch(kind, base, index, segment, scale, len(raw), displacement))
    return row.after


def near_return(block: Draft, instruction: Any, row: Policy, raw: bytes) -> After:
    if sequences.has_operand_size(raw):
        return step(block, instruction, row, raw)
    released = instruction.immediate16 if instruction.code == Code.RETNQ_IMM16 else 0
    block.part(callouts.near_return(released))
    return row.after


EMIT: Final[dict[How, Callable[[Draft, Any, Policy, bytes], After]]] = {
    How.IDENTICAL: identical,
    How.NOTHING: nothing,
    How.SEQUENCE: sequence,
    How.SELECTOR: selector,
    How.INSTRUCTION: exit,
    How.PUSHF: flags,
    How.POPF: flags,
    How.STEP: step,
    How.UNDEFINED: undefined,
    How.INVALID: invalid,
    How.JUMP: jump,
    How.CONDITION: condition,
    How.COUNT: count,
    How.CALL: call,
    How.INDIRECT: indirect,
    How.RETURN: near_return,
}
