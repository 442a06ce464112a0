"""Arithmetic on a device: results of known sums, and quotients that do not fit."""

from __future__ import annotations

import pytest

from pv.emulate.alu import CF, OF, ZF
from tests.pv.emulate.carried_out import carry_out, word


def test_a_sum_goes_where_the_first_operand_is() -> None:
    after, cpu = carry_out("add [rbx], eax", b"\xff\xff\xff\xff", rax=1)
    assert (word(after), after.rflags & (CF | ZF), cpu.cycles) == (0, CF | ZF, 2)
    after, cpu = carry_out("sub rax, [rbx]", b"\x03", rax=5)
    assert (after.registers[0], cpu.cycles) == (2, 1)


def test_what_only_compares_writes_nothing() -> None:
    for text in ("cmp [rbx], eax", "test [rbx], eax"):
        after, cpu = carry_out(text, b"\x01", rax=1)
        assert (word(after), cpu.cycles) == (1, 1)


@pytest.mark.parametrize(
    ("text", "memory", "registers", "rax", "rdx", "wide"),
    [
        ("mul byte ptr [rbx]", b"\xff", {"rax": 0x1FF}, 0xFE01, 0, True),
        ("mul dword ptr [rbx]", b"\xff\xff\xff\xff", {"rax": 2, "rdx": 9}, 0xFFFFFFFE, 1, True),
        ("imul byte ptr [rbx]", b"\xff", {"rax": 2}, 0xFFFE, 0, False),
        ("imul qword ptr [rbx]", b"\x02", {"rax": 1 << 63}, 0, (1 << 64) - 1, True),
        ("imul eax, [rbx]", b"\xff\xff\xff\xff", {"rax": 7}, 0xFFFFFFF9, 0, False),
        ("imul eax, [rbx], 0", b"\xff\xff\xff\xff", {"rax": 7}, 0, 0, False),
        ("imul ax, [rbx], 0x100", b"\x00\x01", {"rax": 0x10000}, 0x10000, 0, True),
    ],
)
def test_products(text: str, memory: bytes, registers: dict[str, int], rax: int, rdx: int, wide: bool) -> None:
    after, _ = carry_out(text, memory, **registers)
    assert (after.registers[0], after.registers[2]) == (rax, rdx)
    assert after.rflags & (CF | OF) == (CF | OF if wide else 0)


@pytest.mark.parametrize(
    ("text", "memory", "registers", "rax", "rdx"),
    [
        ("div byte ptr [rbx]", b"\x07", {"rax": 100}, 2 << 8 | 14, 0),
        ("div qword ptr [rbx]", b"\x02", {"rax": 1, "rdx": 1}, 1 << 63, 1),
        ("idiv dword ptr [rbx]", b"\xfe\xff\xff\xff", {"rax": 7}, 0xFFFFFFFD, 1),
        ("idiv word ptr [rbx]", b"\x02", {"rax": 0xFFF9, "rdx": 0xFFFF}, 0xFFFD, 0xFFFF),
    ],
)
def test_quotients(text: str, memory: bytes, registers: dict[str, int], rax: int, rdx: int) -> None:
    after, _ = carry_out(text, memory, **registers)
    assert (after.registers[0], after.registers[2]) == (rax, rdx)


@pytest.mark.parametrize(
    ("text", "memory", "registers"),
    [
        ("div dword ptr [rbx]", b"", {"rax": 1}),
        ("idiv dword ptr [rbx]", b"", {"rax": 1}),
        ("div dword ptr [rbx]", b"\x01", {"rdx": 1}),
        ("idiv dword ptr [rbx]", b"\xff\xff\xff\xff", {"rax": 1 << 31, "rdx": 0xFFFFFFFF}),
    ],
)
def test_a_quotient_that_does_not_fit_is_a_divide_error(text: str, memory: bytes, registers: dict[str, int]) -> None:
    after, cpu = carry_out(text, memory, **registers)
    assert after.fault == 0
    assert (cpu.get(0), cpu.get(2)) == (registers.get("rax", 0), registers.get("rdx", 0))
