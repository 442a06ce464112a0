"""PUSH, POP, CALL and JMP whose operand is in memory; the stack is wherever RSP points (SDM vol. 2 under each).

64-bit mode: the stack's addresses have 64 bits whatever the address size, and near transfers an operand of 64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate.architecture import GENERAL_PROTECTION, MASK_64, canonical
from pv.emulate.bus import Bus
from pv.emulate.operations_common import RSP, Kind, Known, find
from pv.engines.base import GuestFault
from pv.exits import AGAIN, NEXT, Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


def push(bus: Bus, insn: MemoryInstruction) -> Reply:
    """The operand's address is computed before RSP moves."""
    return _push(bus, bus.load(find(bus, insn)), insn.operand_bytes)


def _push(bus: Bus, value: int, size_bytes: int) -> Reply:
    top = bus.vcpu.get(RSP) - size_bytes & MASK_64
    reply = bus.store(bus.locate(top, size_bytes, write=True), value)
    bus.vcpu.set(RSP, top)
    return reply


def pop(bus: Bus, insn: MemoryInstruction) -> Reply:
    """The operand's address is computed after RSP has moved: decoding put that into its displacement."""
    vcpu, size = bus.vcpu, insn.operand_bytes
    top = vcpu.get(RSP)
    stack, at = bus.locate(top, size), find(bus, insn, write=True)
    reply = bus.store(at, bus.load(stack))
    vcpu.set(RSP, top + size & MASK_64)
    return reply


def call(bus: Bus, insn: MemoryInstruction) -> Reply:
    vcpu = bus.vcpu
    target, back = _target(bus, insn), vcpu.rip + insn.length & MASK_64
    reply = _push(bus, back, insn.operand_bytes)
    vcpu.jump(target)
    return AGAIN if reply is NEXT else reply


def jump(bus: Bus, insn: MemoryInstruction) -> Reply:
    bus.vcpu.jump(_target(bus, insn))
    return AGAIN


def _target(bus: Bus, insn: MemoryInstruction) -> int:
    """Raises GuestFault #GP(0) before anything changes where RIP could not be it."""
    target = bus.load(find(bus, insn))
    if not canonical(target):
        raise GuestFault(GENERAL_PROTECTION, 0)
    return target


STACK: Final[dict[tuple[int, Kind], Known]] = {
    (Mnemonic.PUSH, Kind.GENERAL): Known("push", push, writes=False),
    (Mnemonic.POP, Kind.GENERAL): Known("pop", pop, writes=False),  # the access says which of stack and operand it is
    (Mnemonic.CALL, Kind.GENERAL): Known("call", call, writes=False),
    (Mnemonic.JMP, Kind.GENERAL): Known("jmp", jump, writes=False),
}
