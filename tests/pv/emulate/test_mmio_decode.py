"""What an instruction with an operand in memory is decoded to, and which are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.emulate.decode import NO_REGISTER
from pv.emulate.mmio_decode import MemoryInstruction, decode_memory, decode_trapped
from pv.exits import Direction, Reason
from tests.pv.engines.unicorn.guests import assemble

RIP = 0x100000


def decoded(text: str) -> MemoryInstruction:
    insn = decode_memory(assemble(text, RIP), RIP)
    assert insn is not None
    assert insn.reason == Reason.MMIO
    return insn


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("mov [rbx], eax", 1), ("mov eax, [rbx]", 0), ("or [rbx], eax", 1), ("or eax, [rbx]", 0), ("cmp [rbx], eax", 0),
        ("test [rbx], eax", 0), ("xchg [rbx], eax", 1), ("inc dword ptr [rbx]", 1), ("bt [rbx], eax", 0),
        ("bts [rbx], eax", 1), ("stosb", 1), ("lodsb", 0), ("movsb", 0),
    ],
)  # fmt: skip
def test_the_key_says_whether_memory_must_be_writable(text: str, direction: int) -> None:
    assert decoded(text).key == Direction(direction)


def test_the_fields_of_a_store() -> None:
    insn = decoded("mov qword ptr fs:[r12 + r13*4 + 0x10], r14")
    assert (insn.base, insn.index, insn.scale, insn.displacement, insn.segment) == (12, 13, 4, 0x10, 4)
    assert (insn.register, insn.register_bytes, insn.operand_bytes, insn.to_memory, insn.plain) == (
        14,
        8,
        8,
        True,
        True,
    )


def test_the_fields_of_an_immediate() -> None:
    insn = decoded("mov qword ptr [rbx], -2")
    assert (insn.register, insn.immediate, insn.plain) == (NO_REGISTER, (1 << 64) - 2, True)
    assert decoded("mov word ptr [rbx], 0xfffe").immediate == 0xFFFE


@pytest.mark.parametrize(("text", "register", "high", "width"), [
    ("mov [rbx], ah", 0, True, 1), ("mov [rbx], bh", 3, True, 1), ("mov [rbx], sil", 6, False, 1),
    ("mov [rbx], r15b", 15, False, 1), ("mov [rbx], r8w", 8, False, 2),
])  # fmt: skip
def test_narrow_registers(text: str, register: int, high: bool, width: int) -> None:
    insn = decoded(text)
    assert (insn.register, insn.high_byte, insn.register_bytes, insn.plain) == (register, high, width, False)


def test_widening_moves_have_two_widths() -> None:
    insn = decoded("movsx rcx, word ptr [rbx]")
    assert (insn.operand_bytes, insn.register_bytes, insn.plain) == (2, 8, False)


def test_repetition_and_the_address_size_of_a_string() -> None:
    insn = decoded("rep stosb")
    assert (insn.repeated, insn.address_mask) == (True, (1 << 64) - 1)
    assert decoded(".byte 0x67; stosb").address_mask == (1 << 32) - 1
    assert not decoded("stosb").repeated


@pytest.mark.parametrize("text", [
    "mov eax, ebx", "movups xmm0, [rbx]", "mov [rbx], ds", "cmpxchg [rbx], eax", "lea rax, [rbx]", "movsd xmm0, [rbx]",
    "nop dword ptr [rbx]", "call [rbx]", "ud2",
])  # fmt: skip
def test_what_is_not_emulated(text: str) -> None:
    assert decode_memory(assemble(text, RIP), RIP) is None


def test_privileged_instructions_come_first() -> None:
    for text, reason in (
        ("cli", Reason.INTERRUPT_FLAG),
        ("lgdt [rbx]", Reason.GDTR_IDTR),
        ("mov ds, [rbx]", Reason.SEGMENT_LOAD),
    ):
        insn = decode_trapped(assemble(text, RIP), RIP)
        assert insn is not None
        assert insn.reason == reason
    assert decode_trapped(assemble("nop", RIP), RIP) is None


@given(st.binary(max_size=15))
def test_any_bytes_are_an_instruction_or_none(code: bytes) -> None:
    insn = decode_memory(code, RIP)
    if insn is not None:
        assert 1 <= insn.length <= len(code)
        assert insn.operand_bytes in (1, 2, 4, 8)
        assert -1 <= insn.register <= 15
        assert 0 <= insn.immediate < 1 << 8 * insn.operand_bytes
