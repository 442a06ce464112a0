"""syscall, unmodified: SYSCALL enters by STAR, LSTAR and FMASK, the kernel changes stacks itself, SYSRET goes back.

AMD APM vol. 2, 6.1.1. FMASK clears IF, so no interrupt comes while the program's stack is still in RSP.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work.syscall import DEFAULT_OPERATIONS, NAME, OPERATION, PROGRAM_PAGES, STACK_PAGES, TEXT, add_data
from unmodified_guests.descriptors import KERNEL_CS, KERNEL_SS, STACK_BYTES
from unmodified_guests.machine import begin, finish
from unmodified_guests.paging import let_user

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

STAR, LSTAR, FMASK = 0xC0000081, 0xC0000082, 0xC0000084
RFLAGS_IF: Final = 1 << 9

WAYS: Final = f"""
work:
    mov ecx, {STAR:#x}
    xor eax, eax
    mov edx, {KERNEL_SS << 16 | KERNEL_CS:#x}
    wrmsr
    mov ecx, {LSTAR:#x}
    mov eax, entry
    xor edx, edx
    wrmsr
    mov ecx, {FMASK:#x}
    mov eax, {RFLAGS_IF:#x}
    wrmsr
    mov [kernel_rsp], rsp
    mov rsp, program_stack_end
    mov ecx, program
    mov r11d, {RFLAGS_IF | 2:#x}
    sysretq

entry:
    mov [program_rsp], rsp
    mov rsp, kernel_stack + {STACK_BYTES}
    push qword ptr [program_rsp]
    push rcx
    push r11
    call serve
    pop r11
    pop rcx
    pop rsp
    sysretq
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("program_rsp", 8)
    guest.asm(let_user("program", PROGRAM_PAGES))
    guest.asm(let_user("program_stack", STACK_PAGES))
    return finish(guest, operations, WAYS + TEXT)
