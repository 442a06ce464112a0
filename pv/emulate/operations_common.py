"""What do all operations share? How one is declared, and the operand that is not in memory.

SDM vol. 1, 3.4.1.1: a write of 1 or 2 bytes keeps the rest of a general register, one of 4 clears its upper half.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from pv.emulate.bus import Bus, Piece
from pv.emulate.decode import NO_REGISTER
from pv.emulate.operands import effective_address
from pv.engines.base import Vcpu
from pv.exits import Reply

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction

RAX, RCX, RDX, RBX, RSP, RSI, RDI = 0, 1, 2, 3, 4, 6, 7
MASK_128: Final = (1 << 128) - 1

Operation = Callable[[Bus, "MemoryInstruction"], Reply]


class Kind(enum.IntEnum):
    """What the operands of an instruction are, apart from the one in memory."""

    GENERAL = 0  # general registers and immediates
    STRING = 1  # implied: RSI, RDI, RCX and the accumulator
    VECTOR = 2  # an XMM register


class Known(NamedTuple):
    """One mnemonic. writes: whether it writes its destination, if that is the operand in memory."""

    name: str
    carry_out: Operation
    writes: bool = True


def find(bus: Bus, insn: MemoryInstruction, *, write: bool = False) -> list[Piece]:
    """The pieces of the operand that the ModR/M byte names. Raises GuestFault."""
    return bus.locate(effective_address(bus.vcpu, insn), insn.operand_bytes, write=write)


def signed(value: int, size_bytes: int) -> int:
    """`value`, unsigned and of `size_bytes`, as a two's complement number."""
    sign = 1 << 8 * size_bytes - 1
    return (value ^ sign) - sign


def read_register(vcpu: Vcpu, register: int, size_bytes: int) -> int:
    """The low bytes of a general register, unsigned."""
    return vcpu.get(register) & (1 << 8 * size_bytes) - 1


def write_register(vcpu: Vcpu, register: int, size_bytes: int, value: int) -> None:
    """Write `value`, below 2**(8 * size_bytes), to the low bytes of a general register."""
    if size_bytes < 4:
        value |= vcpu.get(register) & ~((1 << 8 * size_bytes) - 1)
    vcpu.set(register, value)


def read_other(vcpu: Vcpu, insn: MemoryInstruction) -> int:
    """The register or immediate, unsigned, of its own width."""
    if insn.register == NO_REGISTER:
        return insn.immediate
    value = vcpu.get(insn.register)
    return value >> 8 & 0xFF if insn.high_byte else value & (1 << 8 * insn.register_bytes) - 1


def write_other(vcpu: Vcpu, insn: MemoryInstruction, value: int) -> None:
    """Write `value`, below 2**(8 * register_bytes), to the register."""
    if insn.high_byte:
        vcpu.set(insn.register, vcpu.get(insn.register) & ~0xFF00 | value << 8)
    else:
        write_register(vcpu, insn.register, insn.register_bytes, value)
