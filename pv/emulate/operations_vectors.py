"""SSE moves of 4, 8 and 16 bytes between memory and an XMM register (SDM vol. 2 under each).

The processor has looked at CR0.EM, CR0.TS and CR4.OSFXSR before the operand; its alignment is looked at here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from iced_x86 import Mnemonic

from pv.emulate.architecture import GENERAL_PROTECTION, MASK_64
from pv.emulate.bus import Bus
from pv.emulate.operands import effective_address
from pv.emulate.operations_common import MASK_128, Kind, Known
from pv.engines.base import GuestFault
from pv.exits import NEXT, Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction

ALIGNMENT: Final = 16
LOW, HIGH = 0, 64


def move(aligned: bool, bus: Bus, insn: MemoryInstruction) -> Reply:
    """A store writes the low bytes of the register; a load clears those above. Raises GuestFault #GP(0)."""
    vcpu, size = bus.vcpu, insn.operand_bytes
    gva = effective_address(vcpu, insn)
    if aligned and gva % ALIGNMENT:
        raise GuestFault(GENERAL_PROTECTION, 0)
    at = bus.locate(gva, size, write=insn.to_memory)
    if insn.to_memory:
        return bus.store(at, vcpu.xmm(insn.register) & (1 << 8 * size) - 1)
    vcpu.set_xmm(insn.register, bus.load(at))
    return NEXT


def move_half(shift: int, bus: Bus, insn: MemoryInstruction) -> Reply:
    """MOVLPS, MOVHPS and the like: one half of the register, the other as it was."""
    vcpu = bus.vcpu
    value = vcpu.xmm(insn.register)
    at = bus.locate(effective_address(vcpu, insn), insn.operand_bytes, write=insn.to_memory)
    if insn.to_memory:
        return bus.store(at, value >> shift & MASK_64)
    vcpu.set_xmm(insn.register, value & ~(MASK_64 << shift) & MASK_128 | bus.load(at) << shift)
    return NEXT


def move_twice(bus: Bus, insn: MemoryInstruction) -> Reply:
    """MOVDDUP: 8 bytes into both halves."""
    value = bus.load(bus.locate(effective_address(bus.vcpu, insn), insn.operand_bytes))
    bus.vcpu.set_xmm(insn.register, value << 64 | value)
    return NEXT


ALIGNED: Final = ("MOVAPS", "MOVAPD", "MOVDQA", "MOVNTPS", "MOVNTPD", "MOVNTDQ", "MOVNTDQA")
ANYWHERE: Final = ("MOVUPS", "MOVUPD", "MOVDQU", "LDDQU", "MOVSS", "MOVSD", "MOVD", "MOVQ")
HALVES: Final = {"MOVLPS": LOW, "MOVLPD": LOW, "MOVHPS": HIGH, "MOVHPD": HIGH}

VECTORS: Final[dict[tuple[int, Kind], Known]] = {
    **{(getattr(Mnemonic, name), Kind.VECTOR): Known(name.lower(), partial(move, True)) for name in ALIGNED},
    **{(getattr(Mnemonic, name), Kind.VECTOR): Known(name.lower(), partial(move, False)) for name in ANYWHERE},
    **{
        (getattr(Mnemonic, name), Kind.VECTOR): Known(name.lower(), partial(move_half, shift))
        for name, shift in HALVES.items()
    },
    (Mnemonic.MOVDDUP, Kind.VECTOR): Known("movddup", move_twice),
}
