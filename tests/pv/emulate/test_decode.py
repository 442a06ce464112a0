from __future__ import annotations

from typing import Any

import iced_x86
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from iced_x86 import Code, Encoder, MemoryOperand, Register

from pv.dispatch import ANY_KEY
from pv.emulate.decode import (
    FORMS,
    FS,
    GS,
    KEY_IN_ECX,
    KEY_IS_FILLED,
    LAR,
    LSL,
    NO_REGISTER,
    PARAVIRT_FORMS,
    TRANSLATED_FORMS,
    VERR,
    VERW,
    Instruction,
    decode,
    decode_paravirt,
    decode_rewritten,
)
from pv.exits import Direction, Reason

RIP = 0x10_0000


def encode(instruction: Any) -> bytes:
    encoder = Encoder(64)
    encoder.encode(instruction, RIP)
    return bytes(encoder.take_buffer())


MEMORY = MemoryOperand(Register.RBX, Register.RSI, 4, 0x20, 1)
MOVES = {  # the forms whose operands are registers, in order
    Code.MOV_R64_CR: (Register.R9, Register.CR3),
    Code.MOV_CR_R64: (Register.CR3, Register.R9),
    Code.MOV_R64_DR: (Register.R9, Register.DR6),
    Code.MOV_DR_R64: (Register.DR6, Register.R9),
}
WIDTHS = {2: Register.DX, 4: Register.EDX, 8: Register.RDX}


def assemble(code: Any) -> bytes:
    """One instruction of that iced-x86 code, with whatever operands it takes: memory where it can be."""
    create, form = iced_x86.Instruction, FORMS[code]
    if code in MOVES:
        return encode(create.create_reg_reg(code, *MOVES[code]))
    if form.reason is Reason.SEGMENT_LOAD and form.mnemonic == "mov":
        return encode(create.create_reg_mem(code, Register.DS, MEMORY))
    if form.mnemonic == "pop":
        return encode(create.create_reg(code, {FS: Register.FS, GS: Register.GS}[form.key]))
    if form.mnemonic in ("lss", "lfs", "lgs"):
        return encode(create.create_reg_mem(code, WIDTHS[form.operand_bytes], MEMORY))
    if code in (Code.RETFW_IMM16, Code.RETFD_IMM16, Code.RETFQ_IMM16):
        return encode(create.create_u32(code, 0x30))
    try:
        return encode(create.create(code))
    except ValueError:
        return encode(create.create_mem(code, MEMORY))


def decoded(code: bytes | str) -> Instruction:
    insn = decode(bytes.fromhex(code) if isinstance(code, str) else code, RIP)
    assert insn is not None
    return insn


@pytest.mark.parametrize("code", list(FORMS))
def test_every_form_is_recognized_and_cut_to_its_length(code: int) -> None:
    raw = assemble(code)
    form, insn = FORMS[code], decoded(raw + b"\x90" * (15 - len(raw)))
    assert (insn.mnemonic, insn.reason, insn.operand_bytes) == (form.mnemonic, form.reason, form.operand_bytes)
    assert insn.length == len(raw)
    assert insn.key >= 0 or insn.key == KEY_IN_ECX
    for short in range(len(raw)):
        cut = decode(raw[:short], RIP)
        assert cut is None or cut.length <= short


@pytest.mark.parametrize("code", list(FORMS))
def test_lock_makes_none_of_them_valid(code: int) -> None:
    assert decode(b"\xf0" + assemble(code), RIP) is None


@pytest.mark.parametrize("number", range(16))
@pytest.mark.parametrize("register", [0, 7, 8, 15])
def test_control_register_moves(number: int, register: int) -> None:
    prefix = 0x40 | number >> 3 << 2 | register >> 3
    modrm = 0xC0 | (number & 7) << 3 | register & 7
    for opcode, direction in ((0x20, Direction.READ), (0x22, Direction.WRITE)):
        insn = decode(bytes((prefix, 0x0F, opcode, modrm)), RIP)
        if number in (0, 2, 3, 4, 8):
            assert insn is not None
            assert (insn.reason, insn.key) == (Reason.CR_ACCESS, number * 2 + direction)
            assert insn.register == register
        elif insn is not None:
            assert insn.key == number * 2 + direction


@pytest.mark.parametrize("number", range(8))
def test_debug_register_moves(number: int) -> None:
    for opcode, direction in ((0x21, Direction.READ), (0x23, Direction.WRITE)):
        insn = decoded(bytes((0x41, 0x0F, opcode, 0xC0 | number << 3 | 2)))
        assert (insn.reason, insn.key, insn.register) == (Reason.DR_ACCESS, number * 2 + direction, 10)


@pytest.mark.parametrize(
    ("code", "reason", "key"),
    [
        ("fa", Reason.INTERRUPT_FLAG, 0),
        ("fb", Reason.INTERRUPT_FLAG, 1),
        ("0f06", Reason.CR_ACCESS, 1),
        ("0f01f0", Reason.CR_ACCESS, 1),
        ("0f0110", Reason.GDTR_IDTR, 0),
        ("0f0118", Reason.GDTR_IDTR, 1),
        ("0f00d0", Reason.LDTR_TR, 0),
        ("0f00d8", Reason.LDTR_TR, 1),
        ("0f32", Reason.MSR_READ, KEY_IN_ECX),
        ("0f30", Reason.MSR_WRITE, KEY_IN_ECX),
        ("8ec0", Reason.SEGMENT_LOAD, 0),
        ("8ed0", Reason.SEGMENT_LOAD, 2),
        ("8ed8", Reason.SEGMENT_LOAD, 3),
        ("8ee0", Reason.SEGMENT_LOAD, 4),
        ("8ee8", Reason.SEGMENT_LOAD, 5),
        ("0fb220", Reason.SEGMENT_LOAD, 2),
        ("ff28", Reason.FAR_TRANSFER, 0),
        ("ff18", Reason.FAR_TRANSFER, 1),
        ("48cb", Reason.FAR_TRANSFER, 2),
        ("48cf", Reason.IRET, 0),
        ("480f07", Reason.SYSRET, 0),
        ("0f01f8", Reason.SWAPGS, 0),
    ],
)
def test_reason_and_key(code: str, reason: Reason, key: int) -> None:
    insn = decoded(code)
    assert (insn.reason, insn.key) == (reason, key)


@pytest.mark.parametrize(
    "code",
    [
        "",  # nothing
        "f0fa",  # LOCK CLI
        "cf",  # IRETD
        "66cf",  # IRETW
        "8ec8",  # MOV to CS
        "0f0100",  # SGDT
        "0f01e0",  # SMSW
        "9d",  # POPF
        "cd80",  # INT 0x80
        "0fa2",  # CPUID
        "ee",  # OUT
        "0f0b",  # UD2
        "0f01c1",  # VMCALL
        "488b00",  # MOV from memory, whose #GP is a bad address
    ],
)
def test_what_is_not_emulated(code: str) -> None:
    assert decode(bytes.fromhex(code), RIP) is None


@pytest.mark.parametrize(
    ("code", "base", "index", "scale", "displacement", "segment", "address_bits"),
    [
        ("0f0139", 1, NO_REGISTER, 1, 0, NO_REGISTER, 64),
        ("410f0178f0", 8, NO_REGISTER, 1, (1 << 64) - 16, NO_REGISTER, 64),
        ("650f013c8b", 3, 1, 4, 0, GS, 64),
        ("64670f013cc8", 0, 1, 8, 0, FS, 32),
        ("0f013d10000000", NO_REGISTER, NO_REGISTER, 1, RIP + 7 + 0x10, NO_REGISTER, 64),
        ("0f013c2578563412", NO_REGISTER, NO_REGISTER, 1, 0x12345678, NO_REGISTER, 64),
        ("0f013c25785634f2", NO_REGISTER, NO_REGISTER, 1, 0xFFFFFFFF_F2345678, NO_REGISTER, 64),
        ("670f013c25785634f2", NO_REGISTER, NO_REGISTER, 1, 0xF2345678, NO_REGISTER, 32),
        ("2e0f0139", 1, NO_REGISTER, 1, 0, NO_REGISTER, 64),
    ],
)
def test_memory_operands(
    code: str, base: int, index: int, scale: int, displacement: int, segment: int, address_bits: int
) -> None:
    insn = decoded(code)
    assert insn.memory
    assert (insn.base, insn.index, insn.scale) == (base, index, scale)
    assert insn.displacement & insn.address_mask == displacement
    assert insn.segment == segment
    assert insn.address_mask == (1 << address_bits) - 1


def test_a_far_return_carries_what_it_releases() -> None:
    assert decoded("48ca3412").immediate == 0x1234
    assert decoded("48cb").immediate == 0


def test_paravirt_knows_two_instructions() -> None:
    assert {form.mnemonic for form in PARAVIRT_FORMS.values()} == {"rdmsr", "wrmsr"}
    answers = {code: decode_paravirt(assemble(code), RIP) for code in FORMS}
    assert {code for code, insn in answers.items() if insn} == set(PARAVIRT_FORMS)


def test_the_key_in_ecx_is_no_key_of_the_table() -> None:
    assert KEY_IN_ECX not in (ANY_KEY, *range(256))


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=15), st.integers(0, (1 << 64) - 1))
@example(b"\x67\x0f\x01\x3d\xff\xff\xff\x7f", (1 << 64) - 1)
def test_no_bytes_make_it_raise(code: bytes, rip: int) -> None:
    for decoder in (decode, decode_paravirt):
        insn = decoder(code, rip)
        if insn is not None:
            assert 1 <= insn.length <= len(code)
            assert insn.operand_bytes in (2, 4, 8)
            assert -1 <= insn.register < 16
            assert insn.key >= 0 or insn.key == KEY_IN_ECX


@pytest.mark.parametrize(
    ("code", "reason", "key", "register", "base", "operand_bytes"),
    [
        ("0f02ca", Reason.SEGMENT_READ, LAR, 1, 2, 4),
        ("66440f02ca", Reason.SEGMENT_READ, LAR, 9, 2, 2),
        ("490f03cd", Reason.SEGMENT_READ, LSL, 1, 13, 8),
        ("0f03d1", Reason.SEGMENT_READ, LSL, 2, 1, 4),
        ("0f020a", Reason.SEGMENT_READ, LAR, 1, 2, 4),
        ("0f00e2", Reason.SEGMENT_READ, VERR, 2, NO_REGISTER, 2),
        ("0f002b", Reason.SEGMENT_READ, VERW, NO_REGISTER, 3, 2),
        ("8cc9", Reason.SEGMENT_READ, 1, 1, NO_REGISTER, 4),
        ("498cd7", Reason.SEGMENT_READ, 2, 15, NO_REGISTER, 8),
        ("0f0100", Reason.GDTR_IDTR, 2, NO_REGISTER, 0, 8),
        ("0f0108", Reason.GDTR_IDTR, 3, NO_REGISTER, 0, 8),
        ("0f00c1", Reason.LDTR_TR, 2, 1, NO_REGISTER, 4),
        ("0f00c9", Reason.LDTR_TR, 3, 1, NO_REGISTER, 4),
        ("0f01e1", Reason.CR_ACCESS, 0, 1, NO_REGISTER, 4),
        ("0fa2", Reason.CPUID, KEY_IS_FILLED, NO_REGISTER, NO_REGISTER, 8),
        ("0f31", Reason.RDTSC, 0, NO_REGISTER, NO_REGISTER, 8),
        ("0f01f9", Reason.RDTSCP, 0, NO_REGISTER, NO_REGISTER, 8),
        ("ec", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 0, 2, 1),
        ("66ef", Reason.IO_INSTRUCTION, KEY_IS_FILLED, 2, 0, 2),
    ],
)
def test_what_a_translator_takes_out(
    code: str, reason: Reason, key: int, register: int, base: int, operand_bytes: int
) -> None:
    raw = bytes.fromhex(code)
    insn = decode_rewritten(raw + b"\x90" * (15 - len(raw)), RIP)
    assert insn is not None
    assert (insn.reason, insn.key, insn.register, insn.base) == (reason, key, register, base)
    assert (insn.operand_bytes, insn.length) == (operand_bytes, len(raw))
    assert decode(raw, RIP) is None


@pytest.mark.parametrize(("code", "port"), [("e460", 0x60), ("e7f4", 0xF4)])
def test_a_port_that_is_named(code: str, port: int) -> None:
    insn = decode_rewritten(bytes.fromhex(code), RIP)
    assert insn is not None
    assert (insn.key, insn.immediate) == (KEY_IS_FILLED, port)


@pytest.mark.parametrize("code", ["8cc1", "8cd9", "8ce1", "8ce9", "90", "f00fa2", "0f05"])
def test_what_it_leaves(code: str) -> None:
    """MOV from ES, DS, FS and GS shows what the guest loaded; LOCK CPUID is undefined."""
    assert decode_rewritten(bytes.fromhex(code), RIP) is None


def test_no_form_is_two() -> None:
    assert not FORMS.keys() & TRANSLATED_FORMS.keys()
