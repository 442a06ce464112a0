"""The job of `fault`: demand paging. Each first touch of a page faults, and the guest's own handler maps it.

The window's pages are touched one after the other; after the last, all are unmapped in one go, and the next round gets
other frames. A frame remembers who touched it last.
The guest's own: a page-fault handler that maps the page at CR2 to the frame that FRAME computes; unmap_window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guest_sdk.work import FREE_MEMORY, mix, mixed

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "fault"
OPERATION: Final = "touch an absent page, which the guest's handler maps"
DEFAULT_OPERATIONS: Final = 200_000

WINDOW: Final = 0x4000_0000  # gva, beyond all memory
PAGES: Final = 64

TEXT: Final = f"""
work:
    xor ebx, ebx
    mov ebp, 1                  ; the checksum
.again:
    mov r12d, ebx
    and r12d, {PAGES - 1}
    shl r12d, 12
    add r12d, {WINDOW:#x}
    mov [r12], ebx              ; this faults
    mov eax, [r12]
    {mix("ebp", "eax")}
    mov eax, [r12 + 8]
    {mix("ebp", "eax")}
    mov [r12 + 8], ebx
    inc ebx
    test ebx, {PAGES - 1}
    jnz .mapped
    inc dword ptr [round]
    call unmap_window
.mapped:
    cmp ebx, OPERATIONS
    jb .again
    mov eax, ebp
    jmp print_result
"""

# Lines that turn the faulting gva in RSI into the gpa of its frame.
FRAME: Final = f"""
    shr rsi, 12
    add esi, [round]
    and esi, {PAGES - 1}
    shl esi, 12
    add esi, {FREE_MEMORY:#x}
"""


def add_data(guest: Guest) -> None:
    """The number of the round."""
    guest.bss("round", 4)


def expected(operations: int) -> int:
    """The result."""
    last, state = [0] * PAGES, 1
    for operation in range(operations):
        frame = (operation + operation // PAGES) % PAGES
        state = mixed(mixed(state, operation), last[frame])
        last[frame] = operation
    return state
