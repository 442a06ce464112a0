"""The job of `disk`: read blocks of 4 KiB in an order that is not the disk's, and take a checksum of every word.

In the end the checksum is written to a block that is not read before, all over, and read back from there.
The guest's own: start_disk; next_block(RDI operation), which returns in RAX where the operation's block has been read
to; store_block(RDI block, RSI data) and load_block(RDI block, RSI room). Where the disk fails, they jump to
`disk_failed`.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from typing import TYPE_CHECKING, Final

from guest_sdk.start import STACK_BYTES, STACK_LABEL
from guest_sdk.work import FACTOR, PAGE

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "disk"
OPERATION: Final = "read a block of 4 KiB and checksum it"
DEFAULT_OPERATIONS: Final = 1_000

BLOCK: Final = PAGE  # bytes
BLOCKS: Final = 1024
STRIDE: Final = 389  # blocks from one operation's to the next one's; odd, so that all come up
WRITTEN: Final = BLOCKS  # the block behind them
DISK_BYTES: Final = (BLOCKS + 1) * BLOCK
SEED: Final = b"pvkit disk 1"
WORD_BITS: Final = 64

TEXT: Final = f"""
work:
    call start_disk
    xor ebx, ebx                ; operations
    xor ebp, ebp                ; the checksum
.block:
    mov edi, ebx
    call next_block
    xor ecx, ecx
.word:
    imul rbp, rbp, {FACTOR}
    add rbp, [rax + rcx*8]
    inc ecx
    cmp ecx, {BLOCK // 8}
    jb .word
    inc ebx
    cmp ebx, OPERATIONS
    jb .block
    mov rax, rbp
    mov rdi, block_buffer
    mov ecx, {BLOCK // 8}
    rep stosq
    mov edi, {WRITTEN}
    mov rsi, block_buffer
    call store_block
    mov rdi, block_buffer
    mov ecx, {BLOCK // 8}
    xor eax, eax
    rep stosq
    mov edi, {WRITTEN}
    mov rsi, block_buffer
    call load_block
    xor ecx, ecx
.back:
    imul rbp, rbp, {FACTOR}
    add rbp, [block_buffer + rcx*8]
    inc ecx
    cmp ecx, {BLOCK // 8}
    jb .back
    mov rax, rbp
    jmp print_result
disk_failed:                    ; no result, and the exit status 1
    mov rsp, {STACK_LABEL} + {STACK_BYTES - 8}
    mov eax, 1
    ret
"""

# Lines that turn the operation in RDI into the number of its block.
CHOOSE: Final = f"""
    imul edi, edi, {STRIDE}
    and edi, {BLOCKS - 1}
"""


def add_data(guest: Guest) -> None:
    """A block's room."""
    guest.bss("block_buffer", BLOCK, align=PAGE)


@cache
def contents() -> bytes:
    """The disk: BLOCKS of noise, the same in every run, and one of zeroes."""
    return hashlib.shake_128(SEED).digest(BLOCKS * BLOCK) + bytes(BLOCK)


def expected(operations: int) -> int:
    """The result."""
    disk, state = contents(), 0
    for operation in range(operations):
        for word in struct.unpack_from(f"<{BLOCK // 8}Q", disk, operation * STRIDE % BLOCKS * BLOCK):
            state = (state * FACTOR + word) % (1 << WORD_BITS)
    word = state
    for _ in range(BLOCK // 8):
        state = (state * FACTOR + word) % (1 << WORD_BITS)
    return state
