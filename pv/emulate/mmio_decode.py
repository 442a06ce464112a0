"""Which instruction accesses a device's page, and what are its operands?

Beside pv.emulate.decode: an instruction that no privilege keeps a guest from, and that traps for where its operand
lies. OPERATIONS names what is emulated and carries out each; an instruction that is not there ends the guest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from iced_x86 import Decoder, MemorySizeExt, Mnemonic, OpKind, Register, RegisterExt

from pv.emulate.architecture import MASK_32, MASK_64
from pv.emulate.decode import (
    NO_REGISTER,
    OVERRIDES,
    Instruction,
    address_of,
    decode,
    decode_intercepted,
    decode_rewritten,
)
from pv.emulate.operations import OPERATIONS
from pv.emulate.operations_common import RDI, RSI, RSP, Kind, Operation
from pv.exits import Direction, Reason

HIGH_BYTES: Final = (Register.AH, Register.CH, Register.DH, Register.BH)
AT_RSI: Final = (OpKind.MEMORY_SEG_RSI, OpKind.MEMORY_SEG_ESI)
AT_RDI: Final = (OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI)
SHORT_STRINGS: Final = (OpKind.MEMORY_SEG_ESI, OpKind.MEMORY_ESEDI)
BIT_STRINGS: Final = (Mnemonic.BT, Mnemonic.BTS, Mnemonic.BTR, Mnemonic.BTC)
IMMEDIATES: Final = frozenset(getattr(OpKind, name) for name in dir(OpKind) if name.startswith("IMMEDIATE"))
MNEMONICS: Final = frozenset(mnemonic for mnemonic, _ in OPERATIONS)
STACK_MOVES: Final = {Mnemonic.PUSH: -1, Mnemonic.CALL: -1, Mnemonic.POP: 1}


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand in memory as the engine finds its linear address, without Python.

    (base + index * scale + displacement) & mask, plus the base of `segment` (FS or GS), modulo 2**64. displacement is
    signed. base, index, segment, bits: encodings, NO_REGISTER for none. size: bytes, 1-16. write: it must be writable.
    bits: the register of a bit offset that reaches beyond the operand: with that offset o, signed and of `size` bytes,
    the sum in parentheses has o // (8 * size) * size more, rounded down (SDM vol. 2, BT).
    """

    base: int
    index: int
    scale: int
    displacement: int
    segment: int
    mask: int
    size: int
    write: bool
    bits: int = NO_REGISTER


@dataclass(slots=True)
class MemoryInstruction(Instruction):
    """An instruction with an operand in memory. key: Direction.WRITE where that operand must be writable.

    operand_bytes: width of the memory operand, 1-16. register: the other operand's (an XMM register's number where
    `vector`), NO_REGISTER where that is `immediate` (unsigned, of the operand's width) or absent. has_immediate: for
    those that have both, IMUL, SHLD and SHRD. high_byte: it is AH, CH, DH or BH. register_bytes: its width, which MOVZX
    and MOVSX make another. to_memory: the operand in memory is the destination. plain: MOV of a whole register of 4 or
    8 bytes, or of an immediate. repeated: REP, REPE or REPNE before a string operation; until_equal: it is REPNE.
    at_rsi, at_rdi: 1 where a string has an operand there; base and index are NO_REGISTER then. bit_string: 1 where a
    bit offset in `register` reaches beyond the operand. stack_bytes: what moves at RSP besides: POP +2 or +8, PUSH and
    CALL -2 or -8. POP's base RSP has its increment in `displacement`, which is signed.
    operation: what carries it out (pv.emulate.operations).
    """

    at_rsi: int
    at_rdi: int
    bit_string: int
    stack_bytes: int
    vector: bool
    has_immediate: bool
    high_byte: bool
    register_bytes: int
    to_memory: bool
    plain: bool
    repeated: bool
    until_equal: bool
    operation: Operation

    def operands(self) -> tuple[Operand, ...]:
        """Those in memory, at most two, in the order in which they are looked at; of a string the next element."""
        size, mask, none = self.operand_bytes, self.address_mask, NO_REGISTER
        if self.at_rsi or self.at_rdi:
            source = (Operand(RSI, none, 1, 0, self.segment, mask, size, False),)
            destination = (Operand(RDI, none, 1, 0, none, mask, size, self.to_memory),)
            return source[: self.at_rsi] + destination[: self.at_rdi]
        address = (self.base, self.index, self.scale, self.displacement, self.segment, mask, size)
        writes = self.key == Direction.WRITE or (self.stack_bytes > 0 and self.to_memory)
        named = Operand(*address, writes, self.register if self.bit_string else none)
        if not self.stack_bytes:
            return (named,)
        pushes = self.stack_bytes < 0
        stack = Operand(RSP, none, 1, min(self.stack_bytes, 0), none, MASK_64, abs(self.stack_bytes), pushes)
        return (named, stack) if pushes else (stack, named)


def decode_trapped(code: bytes, rip: int) -> Instruction | None:
    """What the monitor emulates under trap: a privileged instruction, or one that may access a device."""
    return decode(code, rip) or decode_memory(code, rip)


def decode_translated(code: bytes, rip: int) -> Instruction | None:
    """What the monitor emulates under translate: as under trap, and what its code leaves to the monitor."""
    return decode(code, rip) or decode_rewritten(code, rip) or decode_memory(code, rip)


def decode_in_guest_mode(code: bytes, rip: int) -> Instruction | None:
    """What the monitor emulates under hardware: as under trap, and what only an intercept stops."""
    return decode_trapped(code, rip) or decode_intercepted(code, rip)


class Operands(NamedTuple):
    """The operands of an iced-x86 instruction of which one is in memory. position: that operand's."""

    kind: Kind
    register: Any
    immediate: int | None
    position: int
    strings: tuple[Any, ...]


def decode_memory(code: bytes, rip: int) -> MemoryInstruction | None:
    """The instruction that `code` (up to 15 bytes, from linear address `rip`) begins with, or None.

    None: undefined (LOCK where it is not allowed is), cut short, without an operand in memory, or not in OPERATIONS.
    """
    raw = Decoder(64, code, ip=rip).decode()
    operands = _operands(raw) if raw.mnemonic in MNEMONICS else None
    known = OPERATIONS.get((raw.mnemonic, operands.kind)) if operands else None
    if operands is None or known is None or raw.is_jmp_far_indirect or raw.is_call_far_indirect:
        return None
    register, immediate = operands.register, operands.immediate
    size, source_first = MemorySizeExt.size(raw.memory_size), raw.op_kind(0) in AT_RSI  # CMPS names RSI's first
    to_memory = operands.position == 0 and not source_first
    number, width = NO_REGISTER, 0
    if register != Register.NONE:
        number, width = RegisterExt.number(RegisterExt.full_register(register)), RegisterExt.size(register)
    stack = STACK_MOVES.get(raw.mnemonic, 0) * size
    base, index, scale, displacement, segment, mask = _address(raw, operands)
    if stack > 0 and base == RSP:
        displacement += stack
    return MemoryInstruction(
        int(Reason.MMIO),
        int(Direction.WRITE if to_memory and known.writes else Direction.READ),
        raw.len,
        known.name,
        size,
        number,
        True,
        base,
        index,
        scale,
        displacement,
        segment,
        mask,
        (immediate or 0) & (1 << 8 * size) - 1,
        at_rsi=int(any(kind in AT_RSI for kind in operands.strings)),
        at_rdi=int(any(kind in AT_RDI for kind in operands.strings)),
        bit_string=int(raw.mnemonic in BIT_STRINGS and number != NO_REGISTER),
        stack_bytes=stack,
        vector=operands.kind is Kind.VECTOR,
        has_immediate=immediate is not None,
        high_byte=register in HIGH_BYTES,
        register_bytes=width,
        to_memory=to_memory,
        plain=known.name == "mov" and (register == Register.NONE or width >= 4),
        repeated=raw.has_rep_prefix or raw.has_repne_prefix,
        until_equal=raw.has_repne_prefix,
        operation=known.carry_out,
    )


def _operands(raw: Any) -> Operands | None:
    """None where no operand is in memory, or one is of a kind that no operation takes. The first register counts."""
    kind, register, immediate, memory, strings = Kind.GENERAL, Register.NONE, None, -1, []
    for position in range(raw.op_count):
        operand = raw.op_kind(position)
        if operand == OpKind.REGISTER:
            named = raw.op_register(position)
            if RegisterExt.is_xmm(named):
                kind = Kind.VECTOR
            elif not RegisterExt.is_gpr(named):
                return None
            register = named if register == Register.NONE else register
        elif operand == OpKind.MEMORY:
            memory = position
        elif operand in AT_RSI or operand in AT_RDI:
            kind, memory = Kind.STRING, position if memory < 0 else memory
            strings.append(operand)
        elif operand in IMMEDIATES:
            immediate = raw.immediate(position)
        else:
            return None
    return Operands(kind, register, immediate, memory, tuple(strings)) if memory >= 0 else None


def _address(raw: Any, operands: Operands) -> tuple[int, int, int, int, int, int]:
    """The fields base to address_mask. Of a string RSI and RDI are implied, and the segment is RSI's alone."""
    if operands.kind is not Kind.STRING:
        return address_of(raw)
    short = any(kind in SHORT_STRINGS for kind in operands.strings)
    segment = OVERRIDES.get(raw.memory_segment, NO_REGISTER)
    return NO_REGISTER, NO_REGISTER, 1, 0, segment, MASK_32 if short else MASK_64
