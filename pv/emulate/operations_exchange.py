"""Read-modify-write that others must see whole: XCHG, XADD, CMPXCHG, CMPXCHG8B and 16B (SDM vol. 2 under each)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate import alu
from pv.emulate.architecture import GENERAL_PROTECTION
from pv.emulate.bus import Bus
from pv.emulate.operands import effective_address
from pv.emulate.operations_common import (
    RAX,
    RBX,
    RCX,
    RDX,
    Kind,
    Known,
    find,
    read_other,
    read_register,
    write_other,
    write_register,
)
from pv.engines.base import GuestFault
from pv.exits import Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


def exchange(bus: Bus, insn: MemoryInstruction) -> Reply:
    at = find(bus, insn, write=True)
    value = bus.load(at)
    reply = bus.store(at, read_other(bus.vcpu, insn))
    write_other(bus.vcpu, insn, value)
    return reply


def exchange_and_add(bus: Bus, insn: MemoryInstruction) -> Reply:
    vcpu = bus.vcpu
    at = find(bus, insn, write=True)
    value = bus.load(at)
    result, rflags = alu.add(value, read_other(vcpu, insn), 8 * insn.operand_bytes, vcpu.rflags)
    reply = bus.store(at, result)
    write_other(vcpu, insn, value)
    vcpu.rflags = rflags
    return reply


def compare_and_exchange(bus: Bus, insn: MemoryInstruction) -> Reply:
    """Memory is written in either case, with what it held where the comparison fails."""
    vcpu, size = bus.vcpu, insn.operand_bytes
    at = find(bus, insn, write=True)
    value = bus.load(at)
    _, rflags = alu.subtract(read_register(vcpu, RAX, size), value, 8 * size, vcpu.rflags)
    equal = rflags & alu.ZF
    reply = bus.store(at, read_other(vcpu, insn) if equal else value)
    if not equal:
        write_register(vcpu, RAX, size, value)
    vcpu.rflags = rflags
    return reply


def compare_and_exchange_pair(bus: Bus, insn: MemoryInstruction) -> Reply:
    """CMPXCHG8B, CMPXCHG16B: rDX:rAX against memory, rCX:rBX the new value. ZF alone changes.

    Raises GuestFault #GP(0) where 16 bytes are not aligned.
    """
    vcpu, half = bus.vcpu, insn.operand_bytes // 2
    gva = effective_address(vcpu, insn)
    if half == 8 and gva % 16:
        raise GuestFault(GENERAL_PROTECTION, 0)
    at = bus.locate(gva, insn.operand_bytes, write=True)
    value = bus.load(at)
    if value == read_register(vcpu, RDX, half) << 8 * half | read_register(vcpu, RAX, half):
        reply = bus.store(at, read_register(vcpu, RCX, half) << 8 * half | read_register(vcpu, RBX, half))
        vcpu.rflags |= alu.ZF
        return reply
    reply = bus.store(at, value)
    write_register(vcpu, RAX, half, value & (1 << 8 * half) - 1)
    write_register(vcpu, RDX, half, value >> 8 * half)
    vcpu.rflags &= ~alu.ZF
    return reply


EXCHANGES: Final[dict[tuple[int, Kind], Known]] = {
    (Mnemonic.XCHG, Kind.GENERAL): Known("xchg", exchange),
    (Mnemonic.XADD, Kind.GENERAL): Known("xadd", exchange_and_add),
    (Mnemonic.CMPXCHG, Kind.GENERAL): Known("cmpxchg", compare_and_exchange),
    (Mnemonic.CMPXCHG8B, Kind.GENERAL): Known("cmpxchg8b", compare_and_exchange_pair),
    (Mnemonic.CMPXCHG16B, Kind.GENERAL): Known("cmpxchg16b", compare_and_exchange_pair),
}
