"""fault, unmodified: the handler reads CR2, writes a page-table entry and returns by IRETQ."""

from __future__ import annotations

from typing import Final

from guest_sdk.work.fault import DEFAULT_OPERATIONS, FRAME, NAME, OPERATION, PAGES, TEXT, WINDOW, add_data
from unmodified_guests.machine import begin, finish
from unmodified_guests.paging import DATA, add_window

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

PAGE_FAULT: Final = 14

HANDLERS: Final = f"""
page_fault:
    push rax
    push rsi
    push rdi
    mov rdi, cr2
    mov rsi, rdi
    {FRAME}
    mov rax, {DATA:#x}
    or rax, rsi
    shr rdi, 12
    and edi, 511
    mov [window_table + rdi*8], rax
    pop rdi
    pop rsi
    pop rax
    add rsp, 8                  ; the error code
    iretq

unmap_window:
    mov ecx, {PAGES}
    mov edi, {WINDOW >> 12 & 511}
    xor eax, eax
.entry:
    mov [window_table + rdi*8], rax
    inc edi
    dec ecx
    jnz .entry
    mov rax, root
    mov cr3, rax                ; no translation outlives this
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    add_window(guest)
    return finish(guest, operations, HANDLERS + TEXT, {PAGE_FAULT: "page_fault"})
