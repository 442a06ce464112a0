"""The job of `address-space`: go round eight spaces, each with a page of its own at one address, and change each page.

The guest's own: set-up has made the spaces; switch_space runs in space RDI, 0 to SPACES - 1.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work import FREE_MEMORY, PAGE, mix, mixed

NAME: Final = "address-space"
OPERATION: Final = "switch to another address space and touch its page"
DEFAULT_OPERATIONS: Final = 200_000

SPACES: Final = 8
PRIVATE: Final = 1 << 39  # gva, where the second root entry begins: 512 GiB
FIRST_VALUE: Final = 1000  # space n's page starts with n + FIRST_VALUE

TEXT: Final = f"""
work:
    mov r12, {PRIVATE:#x}
    xor ebx, ebx
.first:                         ; each page gets a value that tells it from the others
    mov edi, ebx
    call switch_space
    lea eax, [rbx + {FIRST_VALUE}]
    mov [r12], eax
    inc ebx
    cmp ebx, {SPACES}
    jb .first
    xor ebx, ebx                ; switches
    xor ebp, ebp                ; the checksum
.switch:
    mov edi, ebx
    and edi, {SPACES - 1}
    call switch_space
    mov eax, [r12]
    {mix("ebp", "eax")}
    add eax, ebx
    mov [r12], eax
    inc ebx
    cmp ebx, OPERATIONS
    jb .switch
    mov eax, ebp
    jmp print_result
"""


def frame(space: int) -> int:
    """The gpa of a space's own page."""
    return FREE_MEMORY + space * PAGE


def expected(operations: int) -> int:
    """The result."""
    pages, state = [space + FIRST_VALUE for space in range(SPACES)], 0
    for operation in range(operations):
        value = pages[operation % SPACES]
        state = mixed(state, value)
        pages[operation % SPACES] = (value + operation) % (1 << 32)
    return state
