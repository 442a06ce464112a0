"""Bytes that do not say what the source said are found, one row for each thing that is compared."""

from __future__ import annotations

import pytest

from guest_sdk import AssemblyError
from guest_sdk.syntax import Immediate, Instruction, Register, parse_text
from guest_sdk.verify import check, decode

ADDRESS = 0x100000


def no_names(name: str) -> int:
    """The lookup of a line that names nothing."""
    raise KeyError(name)


def judge(line: str, code: str) -> None:
    (item,) = parse_text(line)[0]
    assert isinstance(item, Instruction)
    operands = tuple(o if isinstance(o, Register) else o.resolve(no_names, {}) for o in item.operands)
    check(item.mnemonic, item.prefixes, operands, bytes.fromhex(code), ADDRESS)


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        ("mov al, 256", "b000", "operand 2 is not 0x100"),
        ("push 0xffff", "6aff", "operand 1 is not 0xffff"),
        ("push 5", "666a05", "does not push 8 bytes"),
        ("mov rbx, fs:[0x28]", "64488b1d28000000", "is not at 0x28"),
        ("mov rbx, fs:[rax]", "488b18", "is not in fs"),
        ("mov rbx, [rax]", "65488b18", "is not in the default segment"),
        ("mov rax, [rax + rsp]", "488b0420", "other registers"),
        ("mov rbx, [0xfee00000]", "488b1c250000e0fe", "is not at"),
        ("mov rbx, [eip + 8]", "488b5808", "other registers"),
        ("mov rbx, [rip + 8]", "488b1c2508000000", "other registers"),
        ("mov spl, ah", "4088e4", "operand 2 is not ah"),
        ("mov rax, rip", "4889c0", "operand 2 is not rip"),
        ("add rax, rbx", "4801c8", "operand 2 is not rbx"),
        ("sub rax, rbx", "4801d8", "is add"),
        ("jmp 0x100010", "eb10", "operand 1 is not 0x100010"),
        ("inc dword ptr [rax]", "48ff00", "is 8 bytes, not 4"),
        ("movsb", "f3a4", "other prefixes"),
        ("movsb", "65a4", "segment prefix"),
        ("movsb", "67a4", "does not name"),
        ("lock inc dword ptr [rax]", "ff00", "other prefixes"),
        ("retfq", "cb", "another form"),
        ("ljmp [rax]", "ff20", "another form"),
        ("jmp [rax]", "ff28", "far branch"),
        ("nop dword ptr [rax]", "0f1820", "2 operands|is reservednop"),
        ("int 3", "cc", "is int3"),
        ("vmrun rbx", "0f01d8", "takes rax"),
        ("mov eax, [rax]", "89c0", "is not memory"),
        ("mov eax, 5", "89c0", "is not a number"),
        ("ret", "c20800", "does not name"),
        ("mov rbx, [rax]", "67488b18", "other registers"),
        ("mov cr1, rax", "0f22c8", "no single instruction"),
        ("nop", "9090", "no single instruction"),
        ("nop", "", "no single instruction"),
    ],
)
def test_difference_is_found(line: str, code: str, reason: str) -> None:
    with pytest.raises(AssemblyError, match=reason):
        judge(line, code)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("jz 0x100012", "7410"),
        ("setnae al", "0f92c0"),
        ("sal rax, 3", "48c1e003"),
        ("xchg rax, rbx", "4893"),
        ("test rbx, [rax]", "488518"),
        ("imul rax, 10", "486bc00a"),
        ("movsx rax, ebx", "4863c3"),
        ("mov rax, [rsp + rax]", "488b0404"),
        ("mov rax, [rax + rsp]", "488b0404"),
        ("mov rbx, [0x100107]", "488b1d00010000"),
        ("mov rbx, [rip + 0x100]", "488b1d00010000"),
        ("mov ds:[rax], rbx", "488918"),
        ("rep stosq", "f348ab"),
        ("xlatb", "d7"),
        ("push ax", "6650"),
        ("push word ptr [rax]", "66ff30"),
        ("vmrun rax", "0f01d8"),
        ("enter 16, 1", "c8100001"),
        ("mov eax, -1", "b8ffffffff"),
        ("mov eax, 0xffffffff", "b8ffffffff"),
        ("and rax, 0xfffffffffffffff0", "4883e0f0"),
    ],
)
def test_other_spellings_are_the_same(line: str, code: str) -> None:
    judge(line, code)
    assert decode(bytes.fromhex(code), ADDRESS).len == len(code) // 2


def test_message_shows_what_came_out() -> None:
    with pytest.raises(AssemblyError, match=r"b000 \(mov al,0\)"):
        check("mov", (), (Register("al"), Immediate(256)), bytes.fromhex("b000"), ADDRESS)
