"""Single bits, and counts of them: BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT (SDM vol. 2 under each)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from iced_x86 import Mnemonic

from pv.emulate import alu
from pv.emulate.bus import Bus
from pv.emulate.cpuid import EBX, ECX
from pv.emulate.operands import effective_address
from pv.emulate.operations_common import Kind, Known, find, read_other, signed, write_other
from pv.exits import NEXT, Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


class Feature(NamedTuple):
    """A CPUID bit."""

    leaf: int
    register: int
    bit: int


BMI1: Final = Feature(7, EBX, 3)
LZCNT: Final = Feature(0x8000_0001, ECX, 5)


def test_bit(change: Callable[[int, int], int] | None, bus: Bus, insn: MemoryInstruction) -> Reply:
    """BT and its kin. A register's offset is signed and reaches beyond the operand (SDM vol. 2, BT)."""
    vcpu, size, reply = bus.vcpu, insn.operand_bytes, NEXT
    offset = read_other(vcpu, insn)
    beyond = signed(offset, size) // (8 * size) * size if insn.bit_string else 0
    at = bus.locate(effective_address(vcpu, insn, beyond), size, write=change is not None)
    value = bus.load(at)
    if change is not None:
        reply = bus.store(at, change(value, 1 << offset % (8 * size)))
    vcpu.rflags = alu.bit_test(value, offset % (8 * size), vcpu.rflags)
    return reply


def scan(find_bit: Callable[[int], int], bus: Bus, insn: MemoryInstruction) -> Reply:
    """BSF, BSR. Of a source of 0 the destination keeps its value, as the engine and AMD's manual have it."""
    value = bus.load(find(bus, insn))
    bus.vcpu.rflags = alu.scanned(value, 8 * insn.operand_bytes, bus.vcpu.rflags)
    write_other(bus.vcpu, insn, find_bit(value) if value else read_other(bus.vcpu, insn))
    return NEXT


def count_zeros(
    feature: Feature, count: Callable[[int, int], int], older: Callable[[int], int], bus: Bus, insn: MemoryInstruction
) -> Reply:
    """TZCNT, LZCNT; a processor without `feature` takes their bytes for the `older` BSF and BSR."""
    if not bus.vcpu.cpuid(feature.leaf, 0)[feature.register] >> feature.bit & 1:
        return scan(older, bus, insn)
    bits = 8 * insn.operand_bytes
    value = bus.load(find(bus, insn))
    write_other(bus.vcpu, insn, count(value, bits))
    bus.vcpu.rflags = alu.counted(count(value, bits), not value, bus.vcpu.rflags)
    return NEXT


def count_ones(bus: Bus, insn: MemoryInstruction) -> Reply:
    value = bus.load(find(bus, insn))
    write_other(bus.vcpu, insn, value.bit_count())
    bus.vcpu.rflags = bus.vcpu.rflags & ~alu.STATUS | (0 if value else alu.ZF)
    return NEXT


def lowest(value: int) -> int:
    """The number of the lowest bit set in `value`, which is not 0."""
    return (value & -value).bit_length() - 1


def highest(value: int) -> int:
    return value.bit_length() - 1


def trailing_zeros(value: int, bits: int) -> int:
    return lowest(value) if value else bits


def leading_zeros(value: int, bits: int) -> int:
    return bits - value.bit_length()


BITS: Final[dict[tuple[int, Kind], Known]] = {
    (Mnemonic.BT, Kind.GENERAL): Known("bt", partial(test_bit, None), writes=False),
    (Mnemonic.BTS, Kind.GENERAL): Known("bts", partial(test_bit, lambda value, bit: value | bit)),
    (Mnemonic.BTR, Kind.GENERAL): Known("btr", partial(test_bit, lambda value, bit: value & ~bit)),
    (Mnemonic.BTC, Kind.GENERAL): Known("btc", partial(test_bit, lambda value, bit: value ^ bit)),
    (Mnemonic.BSF, Kind.GENERAL): Known("bsf", partial(scan, lowest)),
    (Mnemonic.BSR, Kind.GENERAL): Known("bsr", partial(scan, highest)),
    (Mnemonic.TZCNT, Kind.GENERAL): Known("tzcnt", partial(count_zeros, BMI1, trailing_zeros, lowest)),
    (Mnemonic.LZCNT, Kind.GENERAL): Known("lzcnt", partial(count_zeros, LZCNT, leading_zeros, highest)),
    (Mnemonic.POPCNT, Kind.GENERAL): Known("popcnt", count_ones),
}
