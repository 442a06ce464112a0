"""address-space, unmodified: eight roots that share the kernel's tables; a switch is MOV to CR3."""

from __future__ import annotations

from typing import Final

from guest_sdk.work import PAGE
from guest_sdk.work.address_space import DEFAULT_OPERATIONS, NAME, OPERATION, SPACES, TEXT, frame
from unmodified_guests.machine import begin, finish
from unmodified_guests.paging import DATA, TABLE

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

SPACE_BYTES: Final = 4 * PAGE  # a root, and the three tables below its second entry

BUILD_SPACES: Final = f"""
    mov rdi, spaces
    mov rsi, {DATA | frame(0):#x}
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
    mov [rdi + {3 * PAGE}], rsi
    add rdi, {SPACE_BYTES}
    add rsi, {frame(1) - frame(0)}
    dec ecx
    jnz space
"""
SWITCH: Final = f"""
switch_space:
    imul eax, edi, {SPACE_BYTES}
    add rax, spaces
    mov cr3, rax
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    guest.bss("spaces", SPACES * SPACE_BYTES, align=PAGE)
    guest.asm(BUILD_SPACES)
    return finish(guest, operations, SWITCH + TEXT)
