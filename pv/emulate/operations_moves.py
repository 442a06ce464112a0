"""MOV and what else only moves one value: MOVZX, MOVSX, MOVBE, MOVNTI, SETcc, CMOVcc (SDM vol. 2 under each)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate import alu
from pv.emulate.bus import Bus
from pv.emulate.operations_common import Kind, Known, find, read_other, signed, write_other
from pv.exits import NEXT, Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


def move(bus: Bus, insn: MemoryInstruction) -> Reply:
    """MOV, MOVZX, MOVNTI: caches are not modelled."""
    at = find(bus, insn, write=insn.to_memory)
    if insn.to_memory:
        return bus.store(at, read_other(bus.vcpu, insn))
    write_other(bus.vcpu, insn, bus.load(at))
    return NEXT


def move_sign_extended(bus: Bus, insn: MemoryInstruction) -> Reply:
    value = signed(bus.load(find(bus, insn)), insn.operand_bytes)
    write_other(bus.vcpu, insn, value & (1 << 8 * insn.register_bytes) - 1)
    return NEXT


def move_bytes_swapped(bus: Bus, insn: MemoryInstruction) -> Reply:
    at = find(bus, insn, write=insn.to_memory)
    if insn.to_memory:
        return bus.store(at, _swapped(read_other(bus.vcpu, insn), insn.operand_bytes))
    write_other(bus.vcpu, insn, _swapped(bus.load(at), insn.operand_bytes))
    return NEXT


def _swapped(value: int, size_bytes: int) -> int:
    return int.from_bytes(value.to_bytes(size_bytes, "little"), "big")


def set_byte(condition: int, bus: Bus, insn: MemoryInstruction) -> Reply:
    return bus.store(find(bus, insn, write=True), alu.holds(condition, bus.vcpu.rflags))


def move_if(condition: int, bus: Bus, insn: MemoryInstruction) -> Reply:
    """The operand is read, and a register of 32 bits has its upper half cleared, whether or not the condition holds."""
    value = bus.load(find(bus, insn))
    write_other(bus.vcpu, insn, value if alu.holds(condition, bus.vcpu.rflags) else read_other(bus.vcpu, insn))
    return NEXT


CONDITIONS: Final = ("O", "NO", "B", "AE", "E", "NE", "BE", "A", "S", "NS", "P", "NP", "L", "GE", "LE", "G")

MOVES: Final[dict[tuple[int, Kind], Known]] = {
    (Mnemonic.MOV, Kind.GENERAL): Known("mov", move),
    (Mnemonic.MOVNTI, Kind.GENERAL): Known("movnti", move),
    (Mnemonic.MOVZX, Kind.GENERAL): Known("movzx", move),
    (Mnemonic.MOVSX, Kind.GENERAL): Known("movsx", move_sign_extended),
    (Mnemonic.MOVSXD, Kind.GENERAL): Known("movsxd", move_sign_extended),
    (Mnemonic.MOVBE, Kind.GENERAL): Known("movbe", move_bytes_swapped),
    **{
        (getattr(Mnemonic, f"SET{name}"), Kind.GENERAL): Known(f"set{name.lower()}", partial(set_byte, condition))
        for condition, name in enumerate(CONDITIONS)
    },
    **{
        (getattr(Mnemonic, f"CMOV{name}"), Kind.GENERAL): Known(f"cmov{name.lower()}", partial(move_if, condition))
        for condition, name in enumerate(CONDITIONS)
    },
}
