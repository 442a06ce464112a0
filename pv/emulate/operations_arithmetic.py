"""Arithmetic and logic with an operand in memory: ADD to NOT, MUL, IMUL, DIV, IDIV (SDM vol. 2 under each)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate import alu, multiply
from pv.emulate.architecture import DIVIDE_ERROR
from pv.emulate.bus import Bus
from pv.emulate.decode import NO_REGISTER
from pv.emulate.operations_common import (
    RAX,
    RDX,
    Kind,
    Known,
    find,
    read_other,
    read_register,
    write_other,
    write_register,
)
from pv.engines.base import GuestFault, Vcpu
from pv.exits import NEXT, Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


def arithmetic(function: alu.Binary, keep: bool, bus: Bus, insn: MemoryInstruction) -> Reply:
    """destination = function(destination, source); `keep` is false for CMP and TEST, which set flags alone."""
    vcpu, bits, reply = bus.vcpu, 8 * insn.operand_bytes, NEXT
    at = find(bus, insn, write=keep and insn.to_memory)
    memory, other = bus.load(at), read_other(vcpu, insn)
    destination, source = (memory, other) if insn.to_memory else (other, memory)
    result, rflags = function(destination, source, bits, vcpu.rflags)
    if keep and insn.to_memory:
        reply = bus.store(at, result)
    elif keep:
        write_other(vcpu, insn, result)
    vcpu.rflags = rflags
    return reply


def unary(function: alu.Unary, bus: Bus, insn: MemoryInstruction) -> Reply:
    at = find(bus, insn, write=True)
    result, rflags = function(bus.load(at), 8 * insn.operand_bytes, bus.vcpu.rflags)
    reply = bus.store(at, result)
    bus.vcpu.rflags = rflags
    return reply


def multiply_wide(function: multiply.Multiply, bus: Bus, insn: MemoryInstruction) -> Reply:
    """MUL, and IMUL of one operand: the accumulator times memory, twice as wide; IMUL of more keeps its low half."""
    vcpu, size = bus.vcpu, insn.operand_bytes
    value = bus.load(find(bus, insn))
    if insn.register == NO_REGISTER:
        low, high, vcpu.rflags = function(read_register(vcpu, RAX, size), value, 8 * size, vcpu.rflags)
        _write_wide(vcpu, size, low, high)
        return NEXT
    factor = insn.immediate if insn.has_immediate else read_other(vcpu, insn)
    low, _, vcpu.rflags = function(factor, value, 8 * size, vcpu.rflags)
    write_other(vcpu, insn, low)
    return NEXT


def divide(function: multiply.Divide, bus: Bus, insn: MemoryInstruction) -> Reply:
    """Raises GuestFault #DE where the quotient does not fit. No flag is changed: the SDM calls all undefined."""
    vcpu, size = bus.vcpu, insn.operand_bytes
    divisor = bus.load(find(bus, insn))
    high = vcpu.get(RAX) >> 8 & 0xFF if size == 1 else read_register(vcpu, RDX, size)
    answer = function(high << 8 * size | read_register(vcpu, RAX, size), divisor, 8 * size)
    if answer is None:
        raise GuestFault(DIVIDE_ERROR)
    _write_wide(vcpu, size, *answer)
    return NEXT


def _write_wide(vcpu: Vcpu, size_bytes: int, low: int, high: int) -> None:
    """AX, or rDX:rAX: the product, or remainder and quotient."""
    if size_bytes == 1:
        write_register(vcpu, RAX, 2, high << 8 | low)
    else:
        write_register(vcpu, RAX, size_bytes, low)
        write_register(vcpu, RDX, size_bytes, high)


def _binary(name: str, function: alu.Binary, *, keep: bool = True) -> Known:
    return Known(name, partial(arithmetic, function, keep), keep)


ARITHMETIC: Final[dict[tuple[int, Kind], Known]] = {
    (Mnemonic.ADD, Kind.GENERAL): _binary("add", alu.add),
    (Mnemonic.ADC, Kind.GENERAL): _binary("adc", alu.add_with_carry),
    (Mnemonic.SUB, Kind.GENERAL): _binary("sub", alu.subtract),
    (Mnemonic.SBB, Kind.GENERAL): _binary("sbb", alu.subtract_with_borrow),
    (Mnemonic.AND, Kind.GENERAL): _binary("and", alu.bitwise_and),
    (Mnemonic.OR, Kind.GENERAL): _binary("or", alu.bitwise_or),
    (Mnemonic.XOR, Kind.GENERAL): _binary("xor", alu.exclusive_or),
    (Mnemonic.CMP, Kind.GENERAL): _binary("cmp", alu.subtract, keep=False),
    (Mnemonic.TEST, Kind.GENERAL): _binary("test", alu.bitwise_and, keep=False),
    (Mnemonic.INC, Kind.GENERAL): Known("inc", partial(unary, alu.increment)),
    (Mnemonic.DEC, Kind.GENERAL): Known("dec", partial(unary, alu.decrement)),
    (Mnemonic.NEG, Kind.GENERAL): Known("neg", partial(unary, alu.negate)),
    (Mnemonic.NOT, Kind.GENERAL): Known("not", partial(unary, alu.complement)),
    (Mnemonic.MUL, Kind.GENERAL): Known("mul", partial(multiply_wide, multiply.unsigned), writes=False),
    (Mnemonic.IMUL, Kind.GENERAL): Known("imul", partial(multiply_wide, multiply.signed), writes=False),
    (Mnemonic.DIV, Kind.GENERAL): Known("div", partial(divide, multiply.divide_unsigned), writes=False),
    (Mnemonic.IDIV, Kind.GENERAL): Known("idiv", partial(divide, multiply.divide_signed), writes=False),
}
