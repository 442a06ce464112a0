"""Results and flags against the processor beneath, which executes the same operation on registers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc
from unicorn.x86_const import UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RFLAGS

from pv.emulate import alu
from tests.pv.engines.unicorn.guests import assemble

CODE = 0x100000
REGISTERS = {8: ("al", "cl"), 16: ("ax", "cx"), 32: ("eax", "ecx"), 64: ("rax", "rcx")}
BINARY: dict[str, alu.Binary] = {
    "add": alu.add, "adc": alu.add_with_carry, "sub": alu.subtract, "sbb": alu.subtract_with_borrow,
    "and": alu.bitwise_and, "or": alu.bitwise_or, "xor": alu.exclusive_or,
}  # fmt: skip
UNARY: dict[str, alu.Unary] = {
    "inc": alu.increment, "dec": alu.decrement, "neg": alu.negate, "not": alu.complement,
}  # fmt: skip
VALUES = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 1 << 15, 1 << 31, 1 << 63]))
FLAGS = st.integers(0, alu.STATUS).map(lambda bits: bits & alu.STATUS | 2)


@cache
def processor() -> Uc:
    engine = Uc(UC_ARCH_X86, UC_MODE_64)
    engine.mem_map(CODE, 0x1000)
    return engine


def execute(text: str, a: int, b: int, rflags: int) -> tuple[int, int]:
    """RAX and RFLAGS after one instruction."""
    engine, code = processor(), assemble(text, CODE)
    engine.mem_write(CODE, code)
    engine.ctl_remove_cache(CODE, CODE + len(code))
    for register, value in ((UC_X86_REG_RAX, a), (UC_X86_REG_RCX, b), (UC_X86_REG_RFLAGS, rflags)):
        engine.reg_write(register, value)
    engine.emu_start(CODE, CODE + len(code), count=1)
    return int(engine.reg_read(UC_X86_REG_RAX)), int(engine.reg_read(UC_X86_REG_RFLAGS))


@pytest.mark.parametrize("bits", REGISTERS)
@pytest.mark.parametrize(("name", "function"), BINARY.items(), ids=BINARY)
@settings(max_examples=40, deadline=None)
@given(a=VALUES, b=VALUES, rflags=FLAGS)
def test_two_operands(name: str, function: alu.Binary, bits: int, a: int, b: int, rflags: int) -> None:
    mask = (1 << bits) - 1
    result, after = function(a & mask, b & mask, bits, rflags)
    expected, flags = execute(f"{name} {', '.join(REGISTERS[bits])}", a, b, rflags)
    assert (result, after & alu.STATUS) == (expected & mask, flags & alu.STATUS)


@pytest.mark.parametrize("bits", REGISTERS)
@pytest.mark.parametrize(("name", "function"), UNARY.items(), ids=UNARY)
@settings(max_examples=40, deadline=None)
@given(a=VALUES, rflags=FLAGS)
def test_one_operand(name: str, function: alu.Unary, bits: int, a: int, rflags: int) -> None:
    mask = (1 << bits) - 1
    result, after = function(a & mask, bits, rflags)
    expected, flags = execute(f"{name} {REGISTERS[bits][0]}", a, 0, rflags)
    assert (result, after & alu.STATUS) == (expected & mask, flags & alu.STATUS)


@settings(max_examples=40, deadline=None)
@given(a=VALUES, position=st.integers(0, 63), rflags=FLAGS)
def test_a_bit_test_sets_carry_alone(a: int, position: int, rflags: int) -> None:
    after = alu.bit_test(a, position, rflags)
    _, flags = execute("bt rax, rcx", a, position, rflags)
    assert after & (alu.CF | alu.ZF) == flags & (alu.CF | alu.ZF)
    assert after & ~alu.CF == rflags & ~alu.CF


@pytest.mark.parametrize(
    "function", [*BINARY.values(), *(lambda a, _b, bits, f, u=u: u(a, bits, f) for u in UNARY.values())]
)
def test_other_flags_are_left_alone(function: Callable[[int, int, int, int], tuple[int, int]]) -> None:
    kept = 0x0020_0602  # ID, DF, IF
    assert function(1, 2, 32, kept)[1] & ~alu.STATUS == kept
