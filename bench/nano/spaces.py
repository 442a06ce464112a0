"""The guests of row `8 spaces`: eight address spaces, gone round, 16 pages touched in each. No table changes."""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest
from guest_sdk.work import FREE_MEMORY, PAGE
from guest_sdk.work.address_space import PRIVATE, SPACES
from guest_sdk.workloads import address_space as paravirt_form
from guest_sdk.workloads import kernel
from unmodified_guests import address_space as unmodified_form
from unmodified_guests import machine
from unmodified_guests.paging import DATA, TABLE

PAGES: Final = 16  # of each space, its working set
SPACE_BYTES: Final = 4 * PAGE  # a root, and the three tables below its second entry

BUILD_SPACES: Final = f"""
    mov rdi, spaces
    mov rsi, {DATA | FREE_MEMORY:#x}
    mov ecx, {SPACES}
space:
    mov rax, [root]             ; the kernel's half
    mov [rdi], rax
    lea rax, [rdi + {PAGE + TABLE}]
    mov [rdi + 8], rax
    add rax, {PAGE}
    mov [rdi + {PAGE}], rax
    add rax, {PAGE}
    mov [rdi + {2 * PAGE}], rax
    lea rdx, [rdi + {3 * PAGE}]
    mov r8d, {PAGES}
entry:
    mov [rdx], rsi
    add rdx, 8
    add rsi, {PAGE}
    dec r8d
    jnz entry
    add rdi, {SPACE_BYTES}
    dec ecx
    jnz space
"""
TEXT: Final = f"""
work:
    mov r12, {PRIVATE:#x}
    xor ebp, ebp
    mov ebx, OPERATIONS
.again:
    mov edi, ebx
    and edi, {SPACES - 1}
    call switch_space
    mov rdx, r12
    mov ecx, {PAGES}
.page:
    inc dword ptr [rdx]
    add ebp, [rdx]
    add rdx, {PAGE}
    dec ecx
    jnz .page
    dec ebx
    jnz .again
    mov eax, ebp
    jmp print_result
"""


def unmodified(operations: int) -> bytes:
    """The guest for a plain PC: a switch is MOV to CR3."""
    guest = machine.begin("nano-spaces", operations)
    guest.bss("spaces", SPACES * SPACE_BYTES, align=PAGE)
    guest.asm(BUILD_SPACES)
    return machine.finish(guest, operations, unmodified_form.SWITCH + TEXT)


def paravirt(operations: int) -> bytes:
    """The guest that asks: the monitor makes the spaces and maps their pages in one batch; a switch is one call."""
    guest: Guest = kernel.begin("nano-spaces", operations)
    guest.bss("spaces", SPACES * 4)
    fields: list[tuple[int, int | str]] = []
    for space in range(SPACES):
        frames = FREE_MEMORY + space * PAGES * PAGE
        fields += [(4, 0), (4, "MAP_PRESENT | MAP_WRITE"), (8, PRIVATE), (8, frames), (8, PAGES)]
    guest.fields("updates", fields)
    guest.asm(paravirt_form.CREATE)
    guest.call.page_update("updates", SPACES)
    guest.asm("jmp work")
    guest.asm("new_space:")
    guest.call.space_create()
    guest.asm("ret")
    paravirt_form.add_switch(guest)
    return kernel.finish(guest, operations, TEXT)


def expected(operations: int) -> int:
    """The result."""
    counts, total = [0] * SPACES, 0
    for operation in range(operations, 0, -1):
        counts[operation % SPACES] += 1
        total += PAGES * counts[operation % SPACES]
    return total % (1 << 32)
