"""Which privileged or ring-compressed instruction stands at RIP, and what are its operands?

Called by the engine on a cache miss after a #GP, never for an exit whose decoding is cached. What
it answers holds plain integers only: iced-x86's objects cost a call for every question they are asked.
What is not in FORMS is not emulated, and the engine reflects the #GP. IRETD and IRETW are absent on
purpose: no 64-bit kernel returns with them. So is what does not trap at CPL 1 (SGDT, SMSW, POPF ...).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from iced_x86 import Code, Decoder, DecoderOptions, OpKind, Register, RegisterExt

from pv.emulate.architecture import MASK_32, MASK_64
from pv.exits import Direction, Reason

KEY_IN_ECX: Final = -2  # RDMSR, WRMSR: the engine takes the exit's key from ECX, and WRMSR's value from EDX:EAX
KEY_IS_FILLED: Final = -1  # CPUID, IN, OUT: the engine takes it from EAX, or is the one who knows of ports
NO_REGISTER: Final = -1
SIGN: Final = 1 << 63
FS: Final = 4
GS: Final = 5

_KEY_IN_OPERAND: Final = -3  # of a Form only: the key is made of the operands


@dataclass(slots=True)
class Instruction:
    """A decoded instruction; pv.exits.Decoded and its operands.

    register: the general register operand as its encoding, NO_REGISTER if the operand is in memory or absent.
    For LSS, LFS and LGS it is the destination of the offset, and the source is in memory. For LAR and LSL it is the
    destination, and `base` the source where that is a register: nothing of the operand is in memory then.
    base, index: encodings or NO_REGISTER; RIP-relative operands come as a displacement alone, from `rip`.
    displacement: signed; a RIP-relative or absolute address above 2**63 is the same modulo 2**64.
    segment: FS or GS where the operand has that override, else NO_REGISTER: other bases are 0 in 64-bit mode.
    address_mask: cuts the sum of base, index and displacement to the address size, before the segment base.
    operand_bytes: 2, 4 or 8. immediate: bytes released by far RET, or the port of IN
    and OUT, which is in DX where a register is `base` (IN) or `register` (OUT) beside the accumulator.
    """

    reason: int
    key: int
    length: int
    mnemonic: str
    operand_bytes: int
    register: int
    memory: bool
    base: int
    index: int
    scale: int
    displacement: int
    segment: int
    address_mask: int
    immediate: int


class InstructionExit(Protocol):
    """An exit of an emulated instruction: pv.exits.ExitView whose `insn` this module made."""

    key: int
    value: int
    length: int
    insn: Instruction

    @property
    def rip(self) -> int: ...
    @property
    def cpl(self) -> int: ...


class Form(NamedTuple):
    """What one encoding (an iced-x86 Code) is to the monitor."""

    mnemonic: str
    reason: Reason
    key: int = 0
    operand_bytes: int = 8


SHOWING_THE_RING: Final = (1, 2)  # CS, SS
_CR0_READ: Final = 0 * 2 + Direction.READ
_CR0_WRITE: Final = 0 * 2 + Direction.WRITE
_SS: Final = 2

FORMS: Final[dict[int, Form]] = {
    Code.CLI: Form("cli", Reason.INTERRUPT_FLAG, 0),
    Code.STI: Form("sti", Reason.INTERRUPT_FLAG, 1),
    Code.HLT: Form("hlt", Reason.HLT),
    Code.IRETQ: Form("iretq", Reason.IRET),
    Code.SYSRETD: Form("sysret", Reason.SYSRET, operand_bytes=4),
    Code.SYSRETQ: Form("sysret", Reason.SYSRET),
    Code.SWAPGS: Form("swapgs", Reason.SWAPGS),
    Code.INVLPG_M: Form("invlpg", Reason.INVLPG),
    Code.WBINVD: Form("wbinvd", Reason.WBINVD),
    Code.WBNOINVD: Form("wbinvd", Reason.WBINVD),  # what CPUID does not offer: F3 means nothing
    Code.INVD: Form("invd", Reason.INVD),
    Code.XSETBV: Form("xsetbv", Reason.XSETBV),
    Code.RDPMC: Form("rdpmc", Reason.RDPMC),
    Code.MONITORQ: Form("monitor", Reason.MONITOR),
    Code.MONITORD: Form("monitor", Reason.MONITOR, operand_bytes=4),
    Code.MWAIT: Form("mwait", Reason.MWAIT),
    Code.RDMSR: Form("rdmsr", Reason.MSR_READ, KEY_IN_ECX),
    Code.WRMSR: Form("wrmsr", Reason.MSR_WRITE, KEY_IN_ECX),
    Code.MOV_R64_CR: Form("mov", Reason.CR_ACCESS, _KEY_IN_OPERAND),
    Code.MOV_CR_R64: Form("mov", Reason.CR_ACCESS, _KEY_IN_OPERAND),
    Code.MOV_R64_DR: Form("mov", Reason.DR_ACCESS, _KEY_IN_OPERAND),
    Code.MOV_DR_R64: Form("mov", Reason.DR_ACCESS, _KEY_IN_OPERAND),
    Code.CLTS: Form("clts", Reason.CR_ACCESS, _CR0_WRITE),
    Code.LMSW_RM16: Form("lmsw", Reason.CR_ACCESS, _CR0_WRITE, 2),
    Code.LMSW_R32M16: Form("lmsw", Reason.CR_ACCESS, _CR0_WRITE, 2),
    Code.LMSW_R64M16: Form("lmsw", Reason.CR_ACCESS, _CR0_WRITE, 2),
    Code.LGDT_M1664: Form("lgdt", Reason.GDTR_IDTR, 0),
    Code.LIDT_M1664: Form("lidt", Reason.GDTR_IDTR, 1),
    Code.LLDT_RM16: Form("lldt", Reason.LDTR_TR, 0, 2),
    Code.LLDT_R32M16: Form("lldt", Reason.LDTR_TR, 0, 2),
    Code.LLDT_R64M16: Form("lldt", Reason.LDTR_TR, 0, 2),
    Code.LTR_RM16: Form("ltr", Reason.LDTR_TR, 1, 2),
    Code.LTR_R32M16: Form("ltr", Reason.LDTR_TR, 1, 2),
    Code.LTR_R64M16: Form("ltr", Reason.LDTR_TR, 1, 2),
    Code.MOV_SREG_RM16: Form("mov", Reason.SEGMENT_LOAD, _KEY_IN_OPERAND, 2),
    Code.MOV_SREG_R32M16: Form("mov", Reason.SEGMENT_LOAD, _KEY_IN_OPERAND, 2),
    Code.MOV_SREG_R64M16: Form("mov", Reason.SEGMENT_LOAD, _KEY_IN_OPERAND, 2),
    Code.POPW_FS: Form("pop", Reason.SEGMENT_LOAD, FS, 2),
    Code.POPQ_FS: Form("pop", Reason.SEGMENT_LOAD, FS, 8),
    Code.POPW_GS: Form("pop", Reason.SEGMENT_LOAD, GS, 2),
    Code.POPQ_GS: Form("pop", Reason.SEGMENT_LOAD, GS, 8),
    Code.LSS_R16_M1616: Form("lss", Reason.SEGMENT_LOAD, _SS, 2),
    Code.LSS_R32_M1632: Form("lss", Reason.SEGMENT_LOAD, _SS, 4),
    Code.LSS_R64_M1664: Form("lss", Reason.SEGMENT_LOAD, _SS, 8),
    Code.LFS_R16_M1616: Form("lfs", Reason.SEGMENT_LOAD, FS, 2),
    Code.LFS_R32_M1632: Form("lfs", Reason.SEGMENT_LOAD, FS, 4),
    Code.LFS_R64_M1664: Form("lfs", Reason.SEGMENT_LOAD, FS, 8),
    Code.LGS_R16_M1616: Form("lgs", Reason.SEGMENT_LOAD, GS, 2),
    Code.LGS_R32_M1632: Form("lgs", Reason.SEGMENT_LOAD, GS, 4),
    Code.LGS_R64_M1664: Form("lgs", Reason.SEGMENT_LOAD, GS, 8),
    Code.JMP_M1616: Form("jmp", Reason.FAR_TRANSFER, 0, 2),
    Code.JMP_M1632: Form("jmp", Reason.FAR_TRANSFER, 0, 4),
    Code.JMP_M1664: Form("jmp", Reason.FAR_TRANSFER, 0, 8),
    Code.CALL_M1616: Form("call", Reason.FAR_TRANSFER, 1, 2),
    Code.CALL_M1632: Form("call", Reason.FAR_TRANSFER, 1, 4),
    Code.CALL_M1664: Form("call", Reason.FAR_TRANSFER, 1, 8),
    Code.RETFW: Form("retf", Reason.FAR_TRANSFER, 2, 2),
    Code.RETFD: Form("retf", Reason.FAR_TRANSFER, 2, 4),
    Code.RETFQ: Form("retf", Reason.FAR_TRANSFER, 2, 8),
    Code.RETFW_IMM16: Form("retf", Reason.FAR_TRANSFER, 2, 2),
    Code.RETFD_IMM16: Form("retf", Reason.FAR_TRANSFER, 2, 4),
    Code.RETFQ_IMM16: Form("retf", Reason.FAR_TRANSFER, 2, 8),
}

INTERCEPTED_FORMS: Final[dict[int, Form]] = {  # no privilege keeps a guest from them, an intercept may
    Code.SMSW_RM16: Form("smsw", Reason.CR_ACCESS, _CR0_READ, 2),
    Code.SMSW_R32M16: Form("smsw", Reason.CR_ACCESS, _CR0_READ, 4),
    Code.SMSW_R64M16: Form("smsw", Reason.CR_ACCESS, _CR0_READ, 8),
}

# What no privilege and no intercept keeps a guest from, and a translator takes out of its code.
# GDTR_IDTR and LDTR_TR: keys 0 and 1 load, 2 and 3 store. SEGMENT_READ: the segment's number, or one of these.
LAR, LSL, VERR, VERW = 6, 7, 8, 9
TRANSLATED_FORMS: Final[dict[int, Form]] = {
    **INTERCEPTED_FORMS,
    Code.SGDT_M1664: Form("sgdt", Reason.GDTR_IDTR, 2),
    Code.SIDT_M1664: Form("sidt", Reason.GDTR_IDTR, 3),
    Code.SLDT_RM16: Form("sldt", Reason.LDTR_TR, 2, 2),
    Code.SLDT_R32M16: Form("sldt", Reason.LDTR_TR, 2, 4),
    Code.SLDT_R64M16: Form("sldt", Reason.LDTR_TR, 2, 8),
    Code.STR_RM16: Form("str", Reason.LDTR_TR, 3, 2),
    Code.STR_R32M16: Form("str", Reason.LDTR_TR, 3, 4),
    Code.STR_R64M16: Form("str", Reason.LDTR_TR, 3, 8),
    Code.MOV_RM16_SREG: Form("mov", Reason.SEGMENT_READ, _KEY_IN_OPERAND, 2),
    Code.MOV_R32M16_SREG: Form("mov", Reason.SEGMENT_READ, _KEY_IN_OPERAND, 4),
    Code.MOV_R64M16_SREG: Form("mov", Reason.SEGMENT_READ, _KEY_IN_OPERAND, 8),
    Code.LAR_R16_RM16: Form("lar", Reason.SEGMENT_READ, LAR, 2),
    Code.LAR_R32_R32M16: Form("lar", Reason.SEGMENT_READ, LAR, 4),
    Code.LAR_R64_R64M16: Form("lar", Reason.SEGMENT_READ, LAR, 8),
    Code.LSL_R16_RM16: Form("lsl", Reason.SEGMENT_READ, LSL, 2),
    Code.LSL_R32_R32M16: Form("lsl", Reason.SEGMENT_READ, LSL, 4),
    Code.LSL_R64_R64M16: Form("lsl", Reason.SEGMENT_READ, LSL, 8),
    Code.VERR_RM16: Form("verr", Reason.SEGMENT_READ, VERR, 2),
    Code.VERR_R32M16: Form("verr", Reason.SEGMENT_READ, VERR, 2),
    Code.VERR_R64M16: Form("verr", Reason.SEGMENT_READ, VERR, 2),
    Code.VERW_RM16: Form("verw", Reason.SEGMENT_READ, VERW, 2),
    Code.VERW_R32M16: Form("verw", Reason.SEGMENT_READ, VERW, 2),
    Code.VERW_R64M16: Form("verw", Reason.SEGMENT_READ, VERW, 2),
    Code.CPUID: Form("cpuid", Reason.CPUID, KEY_IS_FILLED),
    Code.RDTSC: Form("rdtsc", Reason.RDTSC),
    Code.RDTSCP: Form("rdtscp", Reason.RDTSCP),
    Code.IN_AL_IMM8: Form("in", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 1),
    Code.IN_AX_IMM8: Form("in", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 2),
    Code.IN_EAX_IMM8: Form("in", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 4),
    Code.IN_AL_DX: Form("in", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 1),
    Code.IN_AX_DX: Form("in", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 2),
    Code.IN_EAX_DX: Form("in", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 4),
    Code.OUT_IMM8_AL: Form("out", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 1),
    Code.OUT_IMM8_AX: Form("out", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 2),
    Code.OUT_IMM8_EAX: Form("out", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 4),
    Code.OUT_DX_AL: Form("out", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 1),
    Code.OUT_DX_AX: Form("out", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 2),
    Code.OUT_DX_EAX: Form("out", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 4),
}

PARAVIRT_FORMS: Final[dict[int, Form]] = {code: FORMS[code] for code in (Code.RDMSR, Code.WRMSR)}

OVERRIDES: Final = {Register.FS: FS, Register.GS: GS}

# The register files that stand in the operand of a MOV: first register, how many.
_FILES: Final = {
    Reason.CR_ACCESS: (Register.CR0, 16),
    Reason.DR_ACCESS: (Register.DR0, 8),
    Reason.SEGMENT_LOAD: (Register.ES, 6),
    Reason.SEGMENT_READ: (Register.ES, 6),
}


def decode(code: bytes, rip: int) -> Instruction | None:
    """The instruction that `code` (up to 15 bytes, from linear address `rip`) begins with, or None.

    None: undefined, cut short, LOCK where it is not allowed, or nothing that the monitor emulates.
    """
    return _decode(code, rip, FORMS)


def decode_intercepted(code: bytes, rip: int) -> Instruction | None:
    """SMSW, or None: what exits from guest mode though no privilege is needed for it."""
    return _decode(code, rip, INTERCEPTED_FORMS)


def decode_rewritten(code: bytes, rip: int) -> Instruction | None:
    """What a translator takes out of a kernel's code beside what traps, or None. Of MOV from segments: CS and SS."""
    insn = _decode(code, rip, TRANSLATED_FORMS)
    if insn is None or insn.reason != Reason.SEGMENT_READ or insn.mnemonic != "mov" or insn.key in SHOWING_THE_RING:
        return insn
    return None


def decode_paravirt(code: bytes, rip: int) -> Instruction | None:
    """RDMSR or WRMSR, or None: all that a paravirtual guest may leave to the monitor without asking."""
    return _decode(code, rip, PARAVIRT_FORMS)


def _decode(code: bytes, rip: int, forms: dict[int, Form]) -> Instruction | None:
    raw = Decoder(64, code, ip=rip).decode()
    if raw.is_invalid:
        raw = _no_such_register(code, rip)
    form = forms.get(raw.code)
    if form is None:
        return None
    registers: list[int] = []
    immediate, memory = 0, False
    for position in range(raw.op_count):
        kind = raw.op_kind(position)
        if kind == OpKind.REGISTER:
            registers.append(raw.op_register(position))
        elif kind == OpKind.MEMORY:
            memory = True
        elif kind == OpKind.IMMEDIATE16:
            immediate = raw.immediate16
        elif kind == OpKind.IMMEDIATE8:
            immediate = raw.immediate8
    general = [number for number in map(_encoding, registers) if number != NO_REGISTER]
    register, source = (*general, NO_REGISTER, NO_REGISTER)[:2]
    return Instruction(
        int(form.reason),
        _operand_key(form.reason, registers) if form.key == _KEY_IN_OPERAND else form.key,
        raw.len,
        form.mnemonic,
        form.operand_bytes,
        register,
        memory,
        *(address_of(raw) if memory else (source, *_NO_ADDRESS)),
        immediate,
    )


def _no_such_register(code: bytes, rip: int) -> Any:
    """MOV to or from a control register that no processor has, which is #UD and not #GP; else what is not valid."""
    raw = Decoder(64, code, DecoderOptions.NO_INVALID_CHECK, ip=rip).decode()
    if raw.code not in (Code.MOV_R64_CR, Code.MOV_CR_R64) or raw.has_lock_prefix:
        return Decoder(64, code, ip=rip).decode()
    return raw


_NO_ADDRESS: Final = (NO_REGISTER, 1, 0, NO_REGISTER, MASK_64)  # the fields index to address_mask


def address_of(raw: Any) -> tuple[int, int, int, int, int, int]:
    """The fields base to address_mask of an iced-x86 instruction with a memory operand."""
    base, index = raw.memory_base, raw.memory_index
    if base == index == Register.NONE:
        short = raw.memory_displ_size == 4
    else:
        short = base == Register.EIP or RegisterExt.is_gpr32(base) or RegisterExt.is_gpr32(index)
    return (
        _encoding(base),
        _encoding(index),
        raw.memory_index_scale,
        (raw.memory_displacement ^ SIGN) - SIGN,
        OVERRIDES.get(raw.memory_segment, NO_REGISTER),
        MASK_32 if short else MASK_64,
    )


def _encoding(register: Any) -> int:
    """The number of a general register; NO_REGISTER for none and for RIP, which the displacement includes."""
    return RegisterExt.number(register) if RegisterExt.is_gpr(register) else NO_REGISTER


def _operand_key(reason: Reason, registers: list[int]) -> int:
    """CR and DR: number * 2 + Direction; segment loads and reads: the segment's number."""
    first, count = _FILES[reason]
    for position, register in enumerate(registers):
        if first <= register < first + count:
            number = register - first
            if reason in (Reason.SEGMENT_LOAD, Reason.SEGMENT_READ):
                return number
            return number * 2 + (Direction.WRITE if position == 0 else Direction.READ)
    raise AssertionError(f"{reason.name} without its register operand")
