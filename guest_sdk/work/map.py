"""The job of `map`: map a page, touch it, unmap it. Addresses and frames go round at paces of their own.

A frame remembers who touched it last, so that a translation which outlives its page changes the result.
The guest's own: map_page(RDI gva, RSI gpa), writable data; unmap_page(RDI gva).
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work import FREE_MEMORY, mix, mixed

NAME: Final = "map"
OPERATION: Final = "map, touch and unmap a page"
DEFAULT_OPERATIONS: Final = 250_000

WINDOW: Final = 0x4000_0000  # gva, beyond all memory
SLOTS: Final = 8  # of addresses, and of frames

TEXT: Final = f"""
work:
    xor ebx, ebx
    mov ebp, 1                  ; the checksum
.again:
    mov r12d, ebx
    and r12d, {SLOTS - 1}
    mov esi, ebx                ; a slot's frame is the next one in each round
    shr esi, {SLOTS.bit_length() - 1}
    add esi, ebx
    and esi, {SLOTS - 1}
    shl esi, 12
    add esi, {FREE_MEMORY:#x}
    shl r12d, 12
    add r12d, {WINDOW:#x}
    mov rdi, r12
    call map_page
    mov [r12], ebx
    mov eax, [r12]
    {mix("ebp", "eax")}
    mov eax, [r12 + 8]
    {mix("ebp", "eax")}
    mov [r12 + 8], ebx
    mov rdi, r12
    call unmap_page
    inc ebx
    cmp ebx, OPERATIONS
    jb .again
    mov eax, ebp
    jmp print_result
"""


def expected(operations: int) -> int:
    """The result."""
    last, state = [0] * SLOTS, 1
    for operation in range(operations):
        frame = (operation + operation // SLOTS) % SLOTS
        state = mixed(mixed(state, operation), last[frame])
        last[frame] = operation
    return state
