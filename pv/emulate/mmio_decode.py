"""Which instruction accesses a device's page, and what are its operands?

Beside pv.emulate.decode: an instruction that no privilege keeps a guest from, and that traps for where its operand
lies. OPERATIONS names what is emulated and carries out each; an instruction that is not there ends the guest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from iced_x86 import Decoder, MemorySizeExt, OpKind, Register, RegisterExt

from pv.emulate.architecture import MASK_32, MASK_64
from pv.emulate.decode import NO_REGISTER, OVERRIDES, Instruction, address_of, decode
from pv.emulate.mmio import OPERATIONS, RDI, RSI, Operation
from pv.exits import Direction, Reason

HIGH_BYTES: Final = (Register.AH, Register.CH, Register.DH, Register.BH)
SHORT_STRINGS: Final = (OpKind.MEMORY_ESEDI, OpKind.MEMORY_SEG_ESI)
STRING_OPERANDS: Final = {"stos": "d", "lods": "s", "movs": "sd"}  # at RSI: s; at RDI: d
SIGN_64: Final = 1 << 63
STRINGS: Final = (OpKind.MEMORY_ESRDI, OpKind.MEMORY_SEG_RSI, *SHORT_STRINGS)


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand in memory as the engine finds its linear address: (base + index * scale + displacement) & mask, and
    the base of `segment`. base, index, segment: encodings, NO_REGISTER for none. size: bytes. write: it must be
    writable.
    """

    base: int
    index: int
    scale: int
    displacement: int
    segment: int
    mask: int
    size: int
    write: bool


@dataclass(slots=True)
class MemoryInstruction(Instruction):
    """An instruction with an operand in memory. key: Direction.WRITE where that operand must be writable.

    operand_bytes: width of the memory operand, 1-8. register: the other operand's, NO_REGISTER where that is
    `immediate` (unsigned, of the operand's width) or absent. high_byte: it is AH, CH, DH or BH. register_bytes: its
    width, which MOVZX and MOVSX make another. to_memory: the operand in memory is the destination.
    plain: MOV of a whole register of 4 or 8 bytes, or of an immediate. repeated: REP or REPNE before a string move.
    operation: what carries it out (pv.emulate.mmio).
    """

    high_byte: bool
    register_bytes: int
    to_memory: bool
    plain: bool
    repeated: bool
    operation: Operation

    def operands(self) -> tuple[Operand, ...]:
        """Every operand in memory; of a string instruction those at RSI and RDI, as it has them."""
        size = self.operand_bytes
        if self.mnemonic not in STRING_OPERANDS:
            signed = (self.displacement & MASK_64 ^ SIGN_64) - SIGN_64
            address = (self.base, self.index, self.scale, signed, self.segment, self.address_mask)
            return (Operand(*address, size, self.key == Direction.WRITE),)
        source = Operand(RSI, NO_REGISTER, 1, 0, self.segment, self.address_mask, size, False)
        destination = Operand(RDI, NO_REGISTER, 1, 0, NO_REGISTER, self.address_mask, size, True)
        return {"s": (source,), "d": (destination,), "sd": (source, destination)}[STRING_OPERANDS[self.mnemonic]]


def decode_trapped(code: bytes, rip: int) -> Instruction | None:
    """What the monitor emulates under trap: a privileged instruction, or one that may access a device."""
    return decode(code, rip) or decode_memory(code, rip)


def decode_memory(code: bytes, rip: int) -> MemoryInstruction | None:
    """The instruction that `code` (up to 15 bytes, from linear address `rip`) begins with, or None.

    None: undefined, cut short, without an operand in memory, or not in OPERATIONS.
    """
    raw = Decoder(64, code, ip=rip).decode()
    known = OPERATIONS.get(raw.mnemonic)
    if known is None:
        return None
    operands = _operands(raw)
    if operands is None:
        return None
    register, immediate, position, string = operands
    size, to_memory = MemorySizeExt.size(raw.memory_size), position == 0
    number, width = NO_REGISTER, 0
    if register != Register.NONE:
        number, width = RegisterExt.number(RegisterExt.full_register(register)), RegisterExt.size(register)
    return MemoryInstruction(
        int(Reason.MMIO),
        int(Direction.WRITE if to_memory and known.writes else Direction.READ),
        raw.len,
        known.name,
        size,
        number,
        True,
        *(_string_address(raw) if string else address_of(raw)),
        immediate & (1 << 8 * size) - 1,
        high_byte=register in HIGH_BYTES,
        register_bytes=width,
        to_memory=to_memory,
        plain=known.name == "mov" and (register == Register.NONE or width >= 4),
        repeated=raw.has_rep_prefix or raw.has_repne_prefix,
        operation=known.carry_out,
    )


def _operands(raw: Any) -> tuple[Any, int, int, bool] | None:
    """(register, immediate, position of the operand in memory, whether it is a string's), or None where none is."""
    register, immediate, memory, string = Register.NONE, 0, -1, False
    for position in range(raw.op_count):
        kind = raw.op_kind(position)
        if kind == OpKind.REGISTER:
            register = raw.op_register(position)
            if not RegisterExt.is_gpr(register):
                return None
        elif kind == OpKind.MEMORY:
            memory = position
        elif kind in STRINGS:
            string, memory = True, position if memory < 0 else memory
        else:
            immediate = raw.immediate(position)
    return (register, immediate, memory, string) if memory >= 0 else None


def _string_address(raw: Any) -> tuple[int, int, int, int, int, int]:
    """The fields base to address_mask: RSI and RDI are implied, and the segment is RSI's alone."""
    short = any(raw.op_kind(position) in SHORT_STRINGS for position in range(raw.op_count))
    segment = OVERRIDES.get(raw.memory_segment, NO_REGISTER)
    return NO_REGISTER, NO_REGISTER, 1, 0, segment, MASK_32 if short else MASK_64
