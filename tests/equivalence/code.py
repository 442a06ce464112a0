"""How is an instruction with random operands written? As bytes: assembling text for each would take the whole time."""

from __future__ import annotations

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
INTO: tuple[int, ...] = (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)  # any general register but RSP
MASK_64 = (1 << 64) - 1


def move(register: int, value: int) -> bytes:
    """MOV r64, imm64, or its shorter form for 32 bits."""
    value &= MASK_64
    low, extended = bytes([0xB8 | register & 7]), register >> 3
    if value < 1 << 32:
        return (b"\x41" if extended else b"") + low + value.to_bytes(4, "little")
    return bytes([0x48 | extended]) + low + value.to_bytes(8, "little")


def store(address: int, value: int) -> bytes:
    """MOV qword [address], value by way of RAX, which keeps it."""
    return move(RAX, value) + b"\x48\x89\x04\x25" + word(address)


def load(register: int, address: int) -> bytes:
    """MOV r64, [address], an address below 2 GiB."""
    return bytes([0x48 | (register >> 3) << 2, 0x8B, 0x04 | (register & 7) << 3, 0x25]) + word(address)


def word(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def push(value: int) -> bytes:
    """PUSH imm32, or by way of RAX what does not fit in 31 bits."""
    if value < 1 << 31:
        return b"\x68" + word(value)
    return move(RAX, value) + b"\x50"


def control(number: int, register: int, *, write: bool) -> bytes:
    """MOV to or from a control register; 8 by REX.R."""
    rex = (number >> 3) << 2 | register >> 3
    code = bytes([0x0F, 0x22 if write else 0x20, 0xC0 | (number & 7) << 3 | register & 7])
    return (bytes([0x40 | rex]) if rex else b"") + code


def debug(number: int, register: int, *, write: bool) -> bytes:
    """MOV to or from a debug register."""
    rex = b"\x41" if register >> 3 else b""
    return rex + bytes([0x0F, 0x23 if write else 0x21, 0xC0 | number << 3 | register & 7])


def write_msr(msr: int, value: int) -> bytes:
    return move(RCX, msr) + move(RAX, value & 0xFFFFFFFF) + move(RDX, value >> 32) + b"\x0f\x30"


def read_msr(msr: int) -> bytes:
    return move(RCX, msr) + b"\x0f\x32"


def memory_form(opcode: bytes, extension: int, address: int) -> bytes:
    """`opcode /extension` with the operand at an absolute address below 2 GiB."""
    return opcode + bytes([0x04 | extension << 3, 0x25]) + word(address)
