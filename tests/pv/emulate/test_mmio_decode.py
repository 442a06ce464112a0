"""What an instruction with an operand in memory is decoded to, and which are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.emulate.decode import NO_REGISTER
from pv.emulate.mmio_decode import MemoryInstruction, Operand, decode_memory, decode_trapped
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


def at(insn: MemoryInstruction) -> tuple[int, ...]:
    return insn.at_rsi, insn.at_rdi, insn.bit_string, insn.stack_bytes


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("stosb", (0, 1, 0, 0)), ("lodsq", (1, 0, 0, 0)), (".byte 0xa5", (1, 1, 0, 0)), ("cmpsb", (1, 1, 0, 0)),
        ("scasd", (0, 1, 0, 0)), ("push qword ptr [rbx]", (0, 0, 0, -8)), ("push word ptr [rbx]", (0, 0, 0, -2)),
        ("pop qword ptr [rbx]", (0, 0, 0, 8)), ("call [rbx]", (0, 0, 0, -8)), ("jmp [rbx]", (0, 0, 0, 0)),
        ("bts [rbx], eax", (0, 0, 1, 0)), ("bts dword ptr [rbx], 3", (0, 0, 0, 0)), ("mov [rbx], eax", (0, 0, 0, 0)),
    ],
)  # fmt: skip
def test_where_operands_are_besides_the_one_that_is_named(text: str, where: tuple[int, ...]) -> None:
    assert at(decoded(text)) == where


def test_a_string_has_the_segment_of_rsi_and_no_register_of_an_address() -> None:
    insn = decoded(".byte 0x65, 0x67, 0xa4")  # gs, 32-bit addresses, movsb
    assert (insn.base, insn.index, insn.scale, insn.displacement) == (NO_REGISTER, NO_REGISTER, 1, 0)
    assert (insn.segment, insn.address_mask) == (5, (1 << 32) - 1)


RBX, RSP, RSI, RDI = 3, 4, 6, 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mov [rbx], eax", [(RBX, 4, True)]), ("cmp [rbx], eax", [(RBX, 4, False)]), ("stosw", [(RDI, 2, True)]),
        ("lodsq", [(RSI, 8, False)]), (".byte 0xa4", [(RSI, 1, False), (RDI, 1, True)]), ("scasb", [(RDI, 1, False)]),
        ("cmpsb", [(RSI, 1, False), (RDI, 1, False)]), ("push qword ptr [rbx]", [(RBX, 8, False), (RSP, 8, True)]),
        ("pop word ptr [rbx]", [(RSP, 2, False), (RBX, 2, True)]), ("call [rbx]", [(RBX, 8, False), (RSP, 8, True)]),
        ("jmp [rbx]", [(RBX, 8, False)]), ("movaps [rbx], xmm0", [(RBX, 16, True)]),
        ("bts [rbx], eax", [(RBX, 4, True)]), ("lock cmpxchg16b [rbx]", [(RBX, 16, True)]),
        ("div byte ptr [rbx]", [(RBX, 1, False)]),
    ],
)  # fmt: skip
def test_operands(text: str, expected: list[tuple[int, int, bool]]) -> None:
    assert [(operand.base, operand.size, operand.write) for operand in decoded(text).operands()] == expected


def test_the_fields_of_operands() -> None:
    (operand,) = decoded("btr qword ptr gs:[rbx + rcx*2 - 8], rdx").operands()
    assert operand == Operand(RBX, 1, 2, -8, 5, (1 << 64) - 1, 8, True, bits=2)
    _, stack = decoded("push word ptr fs:[rbx]").operands()
    assert stack == Operand(RSP, NO_REGISTER, 1, -2, NO_REGISTER, (1 << 64) - 1, 2, True)


def test_displacements_are_signed_and_pop_counts_its_own_increment() -> None:
    assert decoded("mov [rbx - 8], eax").displacement == -8
    assert decoded("pop qword ptr [rsp + 0x10]").displacement == 0x18
    assert decoded("push qword ptr [rsp + 0x10]").displacement == 0x10
    assert decoded("pop qword ptr [rbx + 0x10]").displacement == 0x10


def test_a_vector_is_a_register_by_its_number() -> None:
    insn = decoded("movups [rbx], xmm9")
    assert (insn.vector, insn.register, insn.register_bytes, insn.operand_bytes) == (True, 9, 16, 16)
    assert (insn.plain, insn.to_memory) == (False, True)
    insn = decoded("movsd xmm1, qword ptr [rbx]")
    assert (insn.mnemonic, insn.vector, insn.repeated) == ("movsd", True, False)  # F2 is part of its opcode


def test_three_operands() -> None:
    insn = decoded("imul ecx, [rbx], 5")
    assert (insn.register, insn.immediate, insn.has_immediate) == (1, 5, True)
    insn = decoded("shld [rbx], edx, cl")
    assert (insn.register, insn.has_immediate) == (2, False)
    insn = decoded("shrd [rbx], edx, 9")
    assert (insn.register, insn.immediate, insn.has_immediate) == (2, 9, True)


@pytest.mark.parametrize("text", [
    "mov [rbx], eax", "cmp [rbx], eax", "bt [rbx], eax", "shl dword ptr [rbx], 1", "movups [rbx], xmm0", "stosb",
    "add eax, [rbx]", "push qword ptr [rbx]", "sete byte ptr [rbx]", "mul dword ptr [rbx]", "movnti [rbx], eax",
])  # fmt: skip
def test_lock_where_it_is_illegal_is_undefined(text: str) -> None:
    """SDM vol. 2, LOCK: #UD, which the processor raises before it looks at the operand."""
    code = assemble(text, RIP)
    assert decode_memory(code, RIP) is not None
    assert decode_memory(b"\xf0" + code, RIP) is None


@pytest.mark.parametrize("text", [
    "add [rbx], eax", "neg dword ptr [rbx]", "xadd [rbx], eax", "cmpxchg [rbx], eax", "cmpxchg8b [rbx]",
    "cmpxchg16b [rbx]", "btc [rbx], eax", "xchg [rbx], eax",
])  # fmt: skip
def test_lock_where_it_is_legal_changes_nothing(text: str) -> None:
    plain, locked = decoded(text), decoded("lock " + text)
    assert (locked.operation, locked.length) == (plain.operation, plain.length + 1)


@pytest.mark.parametrize("text", [
    "mov eax, ebx", "movups xmm0, xmm1", "mov [rbx], ds", "lea rax, [rbx]", "addsd xmm0, [rbx]", "nop dword ptr [rbx]",
    "call rbx", "jmp 0x100000", "ljmp [rbx]", ".byte 0xff, 0x1b", "push rax", "push 3", "shl eax, 1", "ud2",
    "movq mm1, [rbx]",
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
        assert insn.operand_bytes in (1, 2, 4, 8, 16)
        assert -(1 << 63) <= insn.displacement < 1 << 63
        assert -1 <= insn.register <= 15
        assert 0 <= insn.immediate < 1 << 8 * insn.operand_bytes
