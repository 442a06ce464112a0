"""Where is an operand, and what is in it? Effective addresses and the small reads and writes by them.

SDM vol. 1, 3.7.5: base + index * scale + displacement, cut to the address size, plus the segment base.
Every memory access goes through the vcpu, which raises the GuestFault that the guest must get.
"""

from __future__ import annotations

from pv.emulate.architecture import MASK_64
from pv.emulate.decode import FS, NO_REGISTER, Instruction
from pv.engines.base import Vcpu


def effective_address(vcpu: Vcpu, insn: Instruction, beyond: int = 0) -> int:
    """The linear address of the memory operand, 64-bit unsigned; it may be non-canonical.

    beyond: bytes by which a bit offset reaches past the operand that is named, signed.
    """
    address = insn.displacement + beyond
    if insn.base != NO_REGISTER:
        address += vcpu.get(insn.base)
    if insn.index != NO_REGISTER:
        address += vcpu.get(insn.index) * insn.scale
    address &= insn.address_mask
    if insn.segment != NO_REGISTER:
        address += vcpu.fs_base if insn.segment == FS else vcpu.gs_base
    return address & MASK_64


def read_uint(vcpu: Vcpu, gva: int, size_bytes: int) -> int:
    """The little-endian unsigned integer at `gva`. Raises GuestFault."""
    return int.from_bytes(vcpu.read_linear(gva & MASK_64, size_bytes), "little")


def read_word(vcpu: Vcpu, insn: Instruction) -> int:
    """A 16-bit operand in a register or in memory (LMSW, LLDT, LTR, MOV to a segment register). Raises GuestFault."""
    if insn.memory:
        return read_uint(vcpu, effective_address(vcpu, insn), 2)
    return vcpu.get(insn.register) & 0xFFFF


def write_register(vcpu: Vcpu, register: int, value: int, size_bytes: int) -> None:
    """Write a general register as its width asks: 2 bytes keep the upper part, 4 clear it (SDM vol. 1, 3.4.1.1)."""
    if size_bytes == 2:
        value = (vcpu.get(register) & ~0xFFFF) | (value & 0xFFFF)
    vcpu.set(register, value)


def write_word(vcpu: Vcpu, insn: Instruction, value: int) -> None:
    """What SLDT, STR, SMSW and MOV from a segment register do: 16 bits to memory, or a register as wide as it is.

    Of `value` a register of 4 or 8 bytes gets all bits. Raises GuestFault.
    """
    if insn.memory:
        vcpu.write_linear(effective_address(vcpu, insn), (value & 0xFFFF).to_bytes(2, "little"))
    else:
        write_register(vcpu, insn.register, value, insn.operand_bytes)
