"""Shifts and rotates of memory: SHL SHR SAR ROL ROR RCL RCR, and SHLD SHRD (SDM vol. 2 under each)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate import shifts
from pv.emulate.bus import Bus
from pv.emulate.operations_common import RCX, Kind, Known, find, read_other
from pv.exits import Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


def shift(function: shifts.Shift, bus: Bus, insn: MemoryInstruction) -> Reply:
    """The count is CL or an immediate. Memory is written even where it is 0."""
    vcpu, bits = bus.vcpu, 8 * insn.operand_bytes
    at = find(bus, insn, write=True)
    result, rflags = bus.load(at), vcpu.rflags
    count = shifts.masked(read_other(vcpu, insn), bits)
    if count:
        result, rflags = function(result, count, bits, rflags)
    reply = bus.store(at, result)
    vcpu.rflags = rflags
    return reply


def double_shift(function: shifts.Double, bus: Bus, insn: MemoryInstruction) -> Reply:
    vcpu, bits = bus.vcpu, 8 * insn.operand_bytes
    at = find(bus, insn, write=True)
    result, rflags = bus.load(at), vcpu.rflags
    count = shifts.masked(insn.immediate if insn.has_immediate else vcpu.get(RCX), bits)
    if count:
        result, rflags = function(result, read_other(vcpu, insn), count, bits, rflags)
    reply = bus.store(at, result)
    vcpu.rflags = rflags
    return reply


SHIFTS: Final[dict[tuple[int, Kind], Known]] = {
    (Mnemonic.SHL, Kind.GENERAL): Known("shl", partial(shift, shifts.left)),
    (Mnemonic.SAL, Kind.GENERAL): Known("shl", partial(shift, shifts.left)),  # /6, another encoding of the same
    (Mnemonic.SHR, Kind.GENERAL): Known("shr", partial(shift, shifts.right)),
    (Mnemonic.SAR, Kind.GENERAL): Known("sar", partial(shift, shifts.right_signed)),
    (Mnemonic.ROL, Kind.GENERAL): Known("rol", partial(shift, shifts.rotate_left)),
    (Mnemonic.ROR, Kind.GENERAL): Known("ror", partial(shift, shifts.rotate_right)),
    (Mnemonic.RCL, Kind.GENERAL): Known("rcl", partial(shift, shifts.rotate_left_with_carry)),
    (Mnemonic.RCR, Kind.GENERAL): Known("rcr", partial(shift, shifts.rotate_right_with_carry)),
    (Mnemonic.SHLD, Kind.GENERAL): Known("shld", partial(double_shift, shifts.double_left)),
    (Mnemonic.SHRD, Kind.GENERAL): Known("shrd", partial(double_shift, shifts.double_right)),
}
