"""Do these bytes say what the source said? Every encoding is decoded by iced-x86 and held against its source.

Keystone assembles some things wrongly and in silence: an immediate that does not fit is cut, `push 0xffff` pushes
-1, `mov rbx, fs:[0x28]` becomes RIP-relative, `[rax + rsp]` loses RSP, an absolute address is cut to 32 bits.
What is compared: mnemonic, prefixes, operand count and kinds, registers, immediates, effective address,
segment, memory size, branch target.
"""

from __future__ import annotations

from typing import Any, Final

import iced_x86
from iced_x86 import Code, OpKind

from guest_sdk.errors import AssemblyError
from guest_sdk.syntax import REGISTERS, Immediate, Memory, Operand, Register

MASK: Final = (1 << 64) - 1
NAMES: Final = {v: k.lower() for k, v in vars(iced_x86.Mnemonic).items() if k.isupper() and isinstance(v, int)}
MNEMONICS: Final = frozenset(NAMES.values())
REGISTER_NAMES: Final = {value: name for name, value in reversed(REGISTERS.items())}
FORMATTER: Final = iced_x86.Formatter(iced_x86.FormatterSyntax.INTEL)

_CONDITIONS: Final = {
    "z": "e", "nz": "ne", "c": "b", "nae": "b", "nc": "ae", "nb": "ae", "na": "be", "nbe": "a",
    "pe": "p", "po": "np", "nge": "l", "nl": "ge", "ng": "le", "nle": "g",
}  # fmt: skip
ALIASES: Final = {
    **{f"{verb}{alias}": f"{verb}{name}" for verb in ("j", "set", "cmov") for alias, name in _CONDITIONS.items()},
    "sal": "shl", "movabs": "mov", "icebp": "int1", "fwait": "wait", "loopz": "loope", "loopnz": "loopne",
    "retn": "ret", "retfq": "retf", "lretq": "retf", "sysretl": "sysret", "ljmp": "jmp", "lcall": "call",
    "xlat": "xlatb",
}  # fmt: skip
EXACT: Final = {  # where one mnemonic of the decoder covers encodings that differ
    "retfq": (Code.RETFQ, Code.RETFQ_IMM16), "lretq": (Code.RETFQ, Code.RETFQ_IMM16),
    "ljmp": (Code.JMP_M1616, Code.JMP_M1632, Code.JMP_M1664),
    "lcall": (Code.CALL_M1616, Code.CALL_M1632, Code.CALL_M1664),
}  # fmt: skip
IMPLIED: Final = {  # operands that are written, and that the decoder does not list
    "vmrun": ("rax",), "vmload": ("rax",), "vmsave": ("rax",), "invlpga": ("rax", "ecx"),
}  # fmt: skip
WORD_OPERAND: Final = frozenset({"ltr", "lldt", "verr", "verw", "lmsw"})  # they read 16 bits of any width
SYMMETRIC: Final = frozenset({"xchg", "test"})
ANY_SIZE: Final = frozenset({"lgdt", "lidt", "sgdt", "sidt", "lea", "ljmp", "lcall"})
IMMEDIATE_BITS: Final[dict[int, int]] = {
    OpKind.IMMEDIATE8: 8, OpKind.IMMEDIATE8_2ND: 8, OpKind.IMMEDIATE16: 16, OpKind.IMMEDIATE8TO16: 16,
    OpKind.IMMEDIATE32: 32, OpKind.IMMEDIATE8TO32: 32,
    OpKind.IMMEDIATE64: 64, OpKind.IMMEDIATE8TO64: 64, OpKind.IMMEDIATE32TO64: 64,
}  # fmt: skip
SILENT: Final = frozenset({OpKind.REGISTER, OpKind.MEMORY_ESRDI, OpKind.MEMORY_SEG_RSI})


def decode(code: bytes, address: int) -> iced_x86.Instruction:
    """The one instruction in `code`. Raises AssemblyError where there is none, or more than it."""
    instruction = next(iter(iced_x86.Decoder(64, code, ip=address)), None)
    if instruction is None or instruction.is_invalid or instruction.len != len(code):
        raise AssemblyError(f"assembles to {code.hex()}, which is no single instruction")
    return instruction


def check(mnemonic: str, prefixes: tuple[str, ...], operands: tuple[Operand, ...], code: bytes, address: int) -> None:
    """Raises AssemblyError where `code` at `address` is not the instruction of the source."""
    instruction = decode(code, address)
    difference = _difference(mnemonic, prefixes, operands, instruction)
    if difference:
        raise AssemblyError(f"assembles to {code.hex()} ({FORMATTER.format(instruction)}): {difference}")


def _difference(
    mnemonic: str, prefixes: tuple[str, ...], operands: tuple[Operand, ...], instruction: iced_x86.Instruction
) -> str:
    found = NAMES[instruction.mnemonic]
    widened = mnemonic == "movsx" and found == "movsxd"
    if ALIASES.get(mnemonic, mnemonic) != found and not widened:
        return f"is {found}"
    if mnemonic in EXACT and instruction.code not in EXACT[mnemonic]:
        return f"is another form of {found}"
    if mnemonic in ("jmp", "call") and (instruction.is_jmp_far_indirect or instruction.is_call_far_indirect):
        return "is a far branch"
    has = (instruction.has_lock_prefix, instruction.has_rep_prefix, instruction.has_repne_prefix)
    if has != tuple(name in prefixes for name in ("lock", "rep", "repne")):
        return "has other prefixes"
    if mnemonic == "push" and instruction.stack_pointer_increment != -8 and not _is_word(operands[0]):
        return "does not push 8 bytes"
    if mnemonic in IMPLIED:
        wanted = tuple(Register(name) for name in IMPLIED[mnemonic])
        return "" if operands == wanted else f"takes {', '.join(IMPLIED[mnemonic])}"
    if not operands:
        return _implicit(instruction)
    if found == "imul" and len(operands) == 2 and instruction.op_count == 3:
        operands = (operands[0], *operands)
    if len(operands) != instruction.op_count:
        return f"has {instruction.op_count} operands"
    difference = _operands(mnemonic, operands, instruction)
    if difference and mnemonic in SYMMETRIC and not _operands(mnemonic, operands[::-1], instruction):
        return ""
    return difference


def _is_word(operand: Operand) -> bool:
    if isinstance(operand, Memory):
        return operand.size_bytes == 2
    return isinstance(operand, Register) and iced_x86.RegisterInfo(REGISTERS[operand.name]).size == 2


def _implicit(instruction: iced_x86.Instruction) -> str:
    """Operands that nobody wrote must be the ones the mnemonic stands for."""
    kinds = {instruction.op_kind(n) for n in range(instruction.op_count)}
    if instruction.mnemonic == iced_x86.Mnemonic.XLATB:
        kinds = set() if instruction.memory_base == REGISTERS["rbx"] else kinds
    if not kinds <= SILENT:
        return "has operands that the source does not name"
    return "has a segment prefix" if instruction.has_segment_prefix else ""


def _operands(mnemonic: str, operands: tuple[Operand, ...], instruction: iced_x86.Instruction) -> str:
    for index, operand in enumerate(operands):
        kind = instruction.op_kind(index)
        if isinstance(operand, Register):
            same = kind == OpKind.REGISTER and _same(mnemonic, instruction.op_register(index), operand.name)
            difference = "" if same else f"is not {operand.name}"
        elif isinstance(operand, Memory):
            difference = _memory(mnemonic, operand, instruction) if kind == OpKind.MEMORY else "is not memory"
        else:
            difference = _immediate(operand, kind, index, instruction)
        if difference:
            return f"operand {index + 1} {difference}"
    memory = any(isinstance(operand, Memory) for operand in operands)
    return "has a segment prefix" if instruction.has_segment_prefix and not memory else ""


def _same(mnemonic: str, found: Any, name: str) -> bool:
    if mnemonic in WORD_OPERAND:
        return bool(iced_x86.RegisterInfo(found).full_register == iced_x86.RegisterInfo(REGISTERS[name]).full_register)
    return bool(found == REGISTERS[name])


def _immediate(operand: Immediate, kind: int, index: int, instruction: iced_x86.Instruction) -> str:
    if kind == OpKind.NEAR_BRANCH64:
        return "" if instruction.near_branch_target == operand.value & MASK else f"is not {operand.value:#x}"
    if kind not in IMMEDIATE_BITS:
        return "is not a number"
    bits = IMMEDIATE_BITS[kind]
    fits = -(1 << bits - 1) <= operand.value < 1 << bits
    same = (operand.value - instruction.immediate(index)) % (1 << bits) == 0
    return "" if fits and same else f"is not {operand.value:#x}"


def _memory(mnemonic: str, operand: Memory, instruction: iced_x86.Instruction) -> str:
    found: dict[str, int] = {}
    address = instruction.memory_displacement
    if instruction.is_ip_rel_memory_operand:
        address = instruction.ip_rel_memory_address
        if operand.terms:
            address -= instruction.next_ip
            found["rip"] = 1
    else:
        for register, scale in (
            (instruction.memory_base, 1),
            (instruction.memory_index, instruction.memory_index_scale),
        ):
            if register != iced_x86.Register.NONE:
                name = REGISTER_NAMES[register]
                found[name] = found.get(name, 0) + scale
    if found != dict(operand.terms):
        return "has other registers in its address"
    if (address - operand.displacement) & MASK or not -(1 << 63) <= operand.displacement <= MASK:
        return f"is not at {operand.displacement:#x}"
    segment = REGISTER_NAMES.get(instruction.segment_prefix, "")
    # CS, DS, ES and SS change nothing in 64-bit mode, and keystone may leave them out
    if segment != operand.segment and {segment, operand.segment} & {"fs", "gs"}:
        return f"is not in {operand.segment or 'the default segment'}"
    size = iced_x86.MemorySizeInfo(instruction.memory_size).size
    if operand.size_bytes and size and size != operand.size_bytes and mnemonic not in ANY_SIZE:
        return f"is {size} bytes, not {operand.size_bytes}"
    return ""
