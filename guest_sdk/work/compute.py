"""The job of `compute`: the sieve of Eratosthenes, and a CRC-32 over what it leaves. It asks nothing of its kernel.

Each round's CRC starts from the last one's, and the round's number stands in the first bytes, where the sieve has none.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "compute"
OPERATION: Final = "sieve 8,192 numbers and take a CRC-32 of the sieve"
DEFAULT_OPERATIONS: Final = 4_000

SIEVE_BYTES: Final = 8192
POLYNOMIAL: Final = 0xEDB88320  # of IEEE 802.3, bits reversed

TEXT: Final = f"""
work:
    xor r12d, r12d              ; rounds
    xor ebp, ebp                ; the CRC
.again:
    mov ecx, {SIEVE_BYTES // 8}
    xor eax, eax
.clear:
    mov [composite + rcx*8 - 8], rax
    dec ecx
    jnz .clear
    mov ebx, 2
    mov eax, 4
.candidate:                     ; RAX: its square
    cmp byte ptr [composite + rbx], 0
    jne .composite
.multiple:
    mov byte ptr [composite + rax], 1
    add eax, ebx
    cmp eax, {SIEVE_BYTES}
    jb .multiple
.composite:
    inc ebx
    mov eax, ebx
    imul eax, eax
    cmp eax, {SIEVE_BYTES}
    jb .candidate
    mov [composite], r12w       ; 0 and 1 are no candidates
    not ebp
    xor ecx, ecx
.crc:
    movzx eax, byte ptr [composite + rcx]
    xor al, bpl
    shr ebp, 8
    xor ebp, [crc_table + rax*4]
    inc ecx
    cmp ecx, {SIEVE_BYTES}
    jb .crc
    not ebp
    inc r12d
    cmp r12d, OPERATIONS
    jb .again
    mov eax, ebp
    jmp print_result
"""


def add_data(guest: Guest) -> None:
    """The sieve, and the CRC's table."""
    guest.rodata("crc_table", struct.pack("<256I", *map(crc_of_byte, range(256))))
    guest.bss("composite", SIEVE_BYTES)


def crc_of_byte(value: int) -> int:
    """The table's entry for a byte."""
    for _ in range(8):
        value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value


@cache
def sieve() -> bytes:
    """1 for each composite number; 0 for primes, and for 0 and 1."""
    composite = bytearray(SIEVE_BYTES)
    for number in range(2, SIEVE_BYTES):
        for multiple in range(number * number, SIEVE_BYTES, number):
            composite[multiple] = 1
    return bytes(composite)


def expected(operations: int) -> int:
    """The result."""
    crc = 0
    for number in range(operations):
        crc = zlib.crc32(struct.pack("<H", number % (1 << 16)) + sieve()[2:], crc)
    return crc
