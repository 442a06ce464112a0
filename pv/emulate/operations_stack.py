"""PUSH, POP, CALL and JMP whose operand is in memory; the stack is wherever RSP points (SDM vol. 2 under each).

64-bit mode: the stack's addresses have 64 bits whatever the address size, and near transfers an operand of 64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate.architecture import GENERAL_PROTECTION, MASK_64, canonical
from pv.emulate.bus import Bus, Piece
from pv.emulate.operations_common import RSP, Kind, Known, find
from pv.engines.base import GuestFault
from pv.exits import AGAIN, NEXT, Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


def push(bus: Bus, insn: MemoryInstruction) -> Reply:
    """The operand's address is computed before RSP moves; that the stack can be written is known before it is read."""
    at, top, stack = find(bus, insn), *_top(bus, insn)
    return _push(bus, top, stack, bus.load(at))


def _top(bus: Bus, insn: MemoryInstruction) -> tuple[int, list[Piece]]:
    """Where RSP will be, and what lies there."""
    top = bus.vcpu.get(RSP) - insn.operand_bytes & MASK_64
    return top, bus.locate(top, insn.operand_bytes, write=True)


def _push(bus: Bus, top: int, stack: list[Piece], value: int) -> Reply:
    reply = bus.store(stack, value)
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
    at, top, stack = find(bus, insn), *_top(bus, insn)
    target = _target(bus, at)
    reply = _push(bus, top, stack, vcpu.rip + insn.length & MASK_64)
    vcpu.jump(target)
    return AGAIN if reply is NEXT else reply


def jump(bus: Bus, insn: MemoryInstruction) -> Reply:
    bus.vcpu.jump(_target(bus, find(bus, insn)))
    return AGAIN


def _target(bus: Bus, at: list[Piece]) -> int:
    """Raises GuestFault #GP(0) before anything changes where RIP could not be it."""
    target = bus.load(at)
    if not canonical(target):
        raise GuestFault(GENERAL_PROTECTION, 0)
    return target


STACK: Final[dict[tuple[int, Kind], Known]] = {
    (Mnemonic.PUSH, Kind.GENERAL): Known("push", push, writes=False),
    (Mnemonic.POP, Kind.GENERAL): Known("pop", pop, writes=False),  # the access says which of stack and operand it is
    (Mnemonic.CALL, Kind.GENERAL): Known("call", call, writes=False),
    (Mnemonic.JMP, Kind.GENERAL): Known("jmp", jump, writes=False),
}
