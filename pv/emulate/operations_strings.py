"""STOS LODS MOVS CMPS SCAS, an element at a time (SDM vol. 2 under each, and REP/REPE/REPNE).

A repetition answers AGAIN until it is over: each element that lies on a device is an exit, and between two of them an
interrupt is taken. Pointers and count are cut to the address size; ES has no base, RSI's segment may be FS or GS.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate import alu
from pv.emulate.architecture import MASK_64
from pv.emulate.bus import Bus, Piece
from pv.emulate.decode import FS, NO_REGISTER
from pv.emulate.operations_common import RAX, RCX, RDI, RSI, Kind, Known, Operation, read_register, write_register
from pv.engines.base import Vcpu
from pv.exits import AGAIN, NEXT, Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


def _source(bus: Bus, insn: MemoryInstruction) -> list[Piece]:
    vcpu, segment = bus.vcpu, 0
    if insn.segment != NO_REGISTER:
        segment = vcpu.fs_base if insn.segment == FS else vcpu.gs_base
    return bus.locate((vcpu.get(RSI) & insn.address_mask) + segment & MASK_64, insn.operand_bytes)


def _destination(bus: Bus, insn: MemoryInstruction, *, write: bool = True) -> list[Piece]:
    return bus.locate(bus.vcpu.get(RDI) & insn.address_mask, insn.operand_bytes, write=write)


def store_string(bus: Bus, insn: MemoryInstruction) -> Reply:
    return bus.store(_destination(bus, insn), read_register(bus.vcpu, RAX, insn.operand_bytes))


def load_string(bus: Bus, insn: MemoryInstruction) -> Reply:
    write_register(bus.vcpu, RAX, insn.operand_bytes, bus.load(_source(bus, insn)))
    return NEXT


def move_string(bus: Bus, insn: MemoryInstruction) -> Reply:
    source, destination = _source(bus, insn), _destination(bus, insn)
    return bus.store(destination, bus.load(source))


def compare_string(bus: Bus, insn: MemoryInstruction) -> Reply:
    source, destination = _source(bus, insn), _destination(bus, insn, write=False)
    return _compared(bus.vcpu, insn, bus.load(source), bus.load(destination))


def scan_string(bus: Bus, insn: MemoryInstruction) -> Reply:
    value = read_register(bus.vcpu, RAX, insn.operand_bytes)
    return _compared(bus.vcpu, insn, value, bus.load(_destination(bus, insn, write=False)))


def _compared(vcpu: Vcpu, insn: MemoryInstruction, first: int, second: int) -> Reply:
    _, vcpu.rflags = alu.subtract(first, second, 8 * insn.operand_bytes, vcpu.rflags)
    return NEXT


def repeat(one: Operation, compares: bool, bus: Bus, insn: MemoryInstruction) -> Reply:
    """One element; move the pointers on by DF; AGAIN while the count, and what REPE or REPNE asks, have more."""
    vcpu, mask = bus.vcpu, insn.address_mask
    if insn.repeated and not vcpu.get(RCX) & mask:
        return NEXT
    reply = one(bus, insn)
    step = -insn.operand_bytes if vcpu.rflags & alu.DF else insn.operand_bytes
    for register, moves in ((RSI, insn.at_rsi), (RDI, insn.at_rdi)):
        if moves:
            vcpu.set(register, (vcpu.get(register) + step) & mask)
    if not insn.repeated:
        return reply
    left = (vcpu.get(RCX) - 1) & mask
    vcpu.set(RCX, left)
    if compares and bool(vcpu.rflags & alu.ZF) == insn.until_equal:
        return reply
    return AGAIN if left and reply is NEXT else reply


WIDTHS: Final = "BWDQ"


def _family(
    name: str, one: Operation, *, compares: bool = False, writes: bool = False
) -> dict[tuple[int, Kind], Known]:
    known = Known(name, partial(repeat, one, compares), writes)
    return {(getattr(Mnemonic, f"{name.upper()}{width}"), Kind.STRING): known for width in WIDTHS}


STRINGS: Final[dict[tuple[int, Kind], Known]] = {
    **_family("stos", store_string, writes=True),
    **_family("lods", load_string),
    **_family("movs", move_string),  # the access says itself which of its two operands it is
    **_family("cmps", compare_string, compares=True),
    **_family("scas", scan_string, compares=True),
}
