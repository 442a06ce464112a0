"""Which instructions of the cache's own do a guest instruction's work, without an exit?

Each function answers parts: bytes of one instruction, and what to add to RSP to be before the guest's. None where it
can't be encoded: the caller has the monitor do it. Sequences of stores go from low addresses to high, so that the
first page which faults is the one that the processor would name; what was stored is stored again when the guest's
instruction is run anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from iced_x86 import Code, Encoder, Instruction, MemoryOperand, OpKind, Register, RegisterExt

from pv.emulate.architecture import MASK_32, MASK_64

Part = tuple[bytes, int]  # one instruction, and what to add to RSP in it to be before the guest instruction

# The virtual interrupt flag is the upper bound of BND0; BND1 is below 1 while an interrupt waits.
CLI: Final = bytes.fromhex("f30f1b042500000000")  # bndmk bnd0, [0]
STI: Final = bytes.fromhex("f30f1b042501000000")  # bndmk bnd0, [1]
# bndcu bnd1, [1]; nop. The engine reads the byte behind BNDCU's operand as a second one, of that length where it is 90.
WINDOW: Final = bytes.fromhex("f20f1a0c250100000090")
NOTHING: Final = b"\x90"
UNDEFINED: Final = b"\x0f\x0b"

# A jump within the cache has the BND prefix: one without would clear the bounds.
JUMP: Final = b"\xf2\xe9"
JUMP_BYTES: Final = 6
SHORT_JUMP: Final = b"\xf2\xeb"
SHORT_JUMP_BYTES: Final = 3
CONDITION: Final = b"\xf2\x0f"

PREFIXES: Final = frozenset(b"\x66\x67\xf0\xf2\xf3\x2e\x36\x3e\x26\x64\x65")
OPERAND_SIZE: Final = 0x66
LONGEST: Final = 15

Store = tuple[int, int, int]  # offset from the operand, bytes (2 or 4), value


def signed(value: int, bits: int = 64) -> int:
    """Two's complement."""
    sign = 1 << bits - 1
    return ((value & (sign << 1) - 1) ^ sign) - sign


def fits(value: int) -> bool:
    """Whether a 64-bit unsigned value is the sign extension of its low half."""
    return signed(value, 32) == signed(value)


def rel32(distance: int) -> bytes:
    """The distance of a jump, from its end."""
    return distance.to_bytes(4, "little", signed=True)


def has_operand_size(raw: bytes) -> bool:
    """Whether an instruction has prefix 66: a near branch with it goes to 16 bits on this processor, not on Intel's."""
    for byte in raw:
        if byte == OPERAND_SIZE:
            return True
        if byte not in PREFIXES:
            return False
    return False


def absolute(instruction: Any, raw: bytes, displacement_offset: int) -> bytes | None:
    """A copy of `raw` with its RIP-relative operand made absolute: ModRM says SIB, SIB says no base and no index.

    None where the address is no sign-extended 32-bit number, the copy would be too long, or REX.X (which a RIP-relative
    operand ignores) would give it an index.
    """
    target = instruction.ip_rel_memory_address
    short = instruction.memory_base == Register.EIP
    if (not short and not fits(target)) or len(raw) == LONGEST or _has_index_bit(raw):
        return None
    at = displacement_offset - 1
    operand: bytes = bytes((raw[at] & 0xF8 | 4, 0x25)) + (target & MASK_32).to_bytes(4, "little")
    return raw[:at] + operand + raw[at + 5 :]


def _has_index_bit(raw: bytes) -> bool:
    for byte in raw:
        if byte not in PREFIXES:
            return byte & 0xF2 == 0x42 or (byte == 0xC4 and not raw[raw.index(byte) + 1] & 0x40)
    return False


ACCUMULATOR_MOVES: Final = {  # MOV with AL, AX, EAX or RAX has a form with an address of 64 bits
    (Code.MOV_R8_RM8, Register.AL): b"\xa0", (Code.MOV_R16_RM16, Register.AX): b"\x66\xa1",
    (Code.MOV_R32_RM32, Register.EAX): b"\xa1", (Code.MOV_R64_RM64, Register.RAX): b"\x48\xa1",
    (Code.MOV_RM8_R8, Register.AL): b"\xa2", (Code.MOV_RM16_R16, Register.AX): b"\x66\xa3",
    (Code.MOV_RM32_R32, Register.EAX): b"\xa3", (Code.MOV_RM64_R64, Register.RAX): b"\x48\xa3",
}  # fmt: skip
SEGMENT_PREFIXES: Final = {Register.FS: b"\x64", Register.GS: b"\x65"}
LEA: Final = {Code.LEA_R16_M: 2, Code.LEA_R32_M: 4, Code.LEA_R64_M: 8}


def far_away(instruction: Any) -> bytes | None:
    """LEA, or MOV with the accumulator, whose RIP-relative operand is out of reach of 32 bits. None for any other."""
    code = instruction.code
    if code in LEA:
        return load(RegisterExt.number(instruction.op0_register), instruction.ip_rel_memory_address, LEA[code])
    register = instruction.op1_register if instruction.op0_kind == OpKind.MEMORY else instruction.op0_register
    opcode = ACCUMULATOR_MOVES.get((code, register))
    if opcode is None or instruction.has_lock_prefix:
        return None
    segment: bytes = SEGMENT_PREFIXES.get(instruction.segment_prefix, b"")
    return segment + opcode + int(instruction.ip_rel_memory_address).to_bytes(8, "little")


def load(register: int, value: int, size: int) -> bytes:
    """MOV of an immediate to a general register, 2, 4 or 8 bytes of it."""
    rex, opcode = register >> 3, bytes((0xB8 | register & 7,))
    extended = b"\x41" if rex else b""
    if size == 2:
        return b"\x66" + extended + opcode + (value & 0xFFFF).to_bytes(2, "little")
    if size == 4 or value >> 32 == 0:
        return extended + opcode + (value & MASK_32).to_bytes(4, "little")
    return bytes((0x48 | rex,)) + opcode + (value & MASK_64).to_bytes(8, "little")


def push_return(address: int) -> list[Part]:
    """CALL's push of the guest's return address: PUSH sign-extends, so a second store may mend the upper half."""
    push = b"\x68" + (address & MASK_32).to_bytes(4, "little")
    if fits(address):
        return [(push, 0)]
    return [(push, 0), (b"\xc7\x44\x24\x04" + (address >> 32).to_bytes(4, "little"), 8)]


def show(instruction: Any, value: int, size: int) -> list[Part] | None:
    """SMSW, SLDT, STR or MOV from CS: `value` to a register of `size` bytes, or its low word to memory."""
    if instruction.op0_kind == OpKind.REGISTER:
        return [(load(RegisterExt.number(instruction.op0_register), value, size), 0)]
    return stores(instruction, [(0, 2, value & 0xFFFF)])


def show_table(instruction: Any, base: int, limit: int) -> list[Part] | None:
    """SGDT, SIDT: limit and base to memory, ten bytes."""
    return stores(instruction, [(0, 2, limit & 0xFFFF), (2, 4, base & MASK_32), (6, 4, base >> 32)])


STORES: Final = {2: Code.MOV_RM16_IMM16, 4: Code.MOV_RM32_IMM32}
_ENCODER: Final = Encoder(64)


def stores(instruction: Any, values: Sequence[Store]) -> list[Part] | None:
    """MOV of immediates to the operand of `instruction` and behind it. None where that is cut to 32 bits."""
    base, displacement = instruction.memory_base, signed(instruction.memory_displacement)
    relative = instruction.is_ip_rel_memory_operand
    if relative and base == Register.RIP:
        base, displacement = Register.NONE, signed(instruction.ip_rel_memory_address)
    index = instruction.memory_index
    if any(RegisterExt.is_gpr32(part) or part == Register.EIP for part in (base, index)):
        return None
    if base == index == Register.NONE and instruction.memory_displ_size == 4 and not relative:
        return None
    last = displacement + values[-1][0]
    if not -(1 << 31) <= displacement <= last < 1 << 31:
        return None
    segment = instruction.segment_prefix
    parts: list[Part] = []
    for offset, size, value in values:
        far = displacement + offset
        width = 1 if -128 <= far < 128 and base != Register.NONE else 8
        operand = MemoryOperand(base, index, instruction.memory_index_scale, far, width, seg=segment)
        _ENCODER.encode(Instruction.create_mem_u32(STORES[size], operand, value), 0)
        parts.append((bytes(_ENCODER.take_buffer()), 0))
    return parts
