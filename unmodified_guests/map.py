"""map, unmodified: write a page-table entry, clear it again, and INVLPG."""

from __future__ import annotations

from typing import Final

from guest_sdk.work.map import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT
from unmodified_guests.machine import begin, finish
from unmodified_guests.paging import DATA, add_window

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

MAP: Final = f"""
map_page:
    mov rax, {DATA:#x}
    or rax, rsi
    shr rdi, 12
    and edi, 511
    mov [window_table + rdi*8], rax
    ret
unmap_page:
    mov rax, rdi
    shr rax, 12
    and eax, 511
    mov qword ptr [window_table + rax*8], 0
    invlpg [rdi]
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_window(guest)
    return finish(guest, operations, MAP + TEXT)
