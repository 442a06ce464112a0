"""Read-modify-write: what memory gets, what the accumulator gets, and which half of it."""

from __future__ import annotations

import pytest

from pv.emulate.alu import STATUS, ZF
from tests.pv.emulate.carried_out import carry_out, word

HIGH = 0xDEADBEEF << 32


def test_exchange() -> None:
    after, cpu = carry_out("xchg [rbx], eax", b"\x05", rax=HIGH | 7)
    assert (word(after), after.registers[0], cpu.cycles) == (7, 5, 2)


def test_exchange_and_add() -> None:
    after, _ = carry_out("lock xadd [rbx], ax", b"\xff\xff", rax=HIGH | 1)
    assert (word(after), after.registers[0], after.rflags & ZF) == (0, HIGH | 0xFFFF, ZF)


def test_compare_and_exchange_that_succeeds_leaves_the_accumulator() -> None:
    after, cpu = carry_out("lock cmpxchg [rbx], ecx", b"\x05", rax=HIGH | 5, rcx=9)
    assert (word(after), after.registers[0], after.rflags & ZF, cpu.cycles) == (9, HIGH | 5, ZF, 2)


def test_compare_and_exchange_that_fails_loads_it_and_still_writes() -> None:
    after, cpu = carry_out("cmpxchg [rbx], ecx", b"\x06", rax=HIGH | 5, rcx=9)
    assert (word(after), after.registers[0], after.rflags & ZF, cpu.cycles) == (6, 6, 0, 2)


@pytest.mark.parametrize("rflags", [2, 2 | STATUS])
def test_pairs(rflags: int) -> None:
    """RBX is the low half of the new value as well as the address here."""
    pair = (7).to_bytes(4, "little") + (8).to_bytes(4, "little")
    after, _ = carry_out("lock cmpxchg8b [rbx]", pair, rflags, rax=HIGH | 7, rdx=HIGH | 8, rcx=1)
    assert word(after) == 1 << 32 | after.registers[3]
    assert (after.registers[0], after.registers[2]) == (HIGH | 7, HIGH | 8)
    assert after.rflags == rflags & STATUS | ZF
    after, _ = carry_out("cmpxchg8b [rbx]", pair, rflags, rax=HIGH | 7, rdx=9)
    assert (word(after), after.registers[0], after.registers[2]) == (8 << 32 | 7, 7, 8)
    assert after.rflags == rflags & STATUS & ~ZF


def test_a_pair_of_16_bytes() -> None:
    after, cpu = carry_out("lock cmpxchg16b [rbx]", b"\x07" + bytes(7) + b"\x08", rax=7, rdx=8, rcx=1)
    assert (word(after), word(after, 8, 8), cpu.cycles) == (after.registers[3], 1, 4)
    after, cpu = carry_out("lock cmpxchg16b [rbx]", b"\x07", offset=8)
    assert (after.fault, cpu.cycles) == (13, 0)
