"""syscall, paravirtual: SYSCALL enters where the kernel said, on the stack that it named; a call goes back to CPL 3."""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest
from guest_sdk.work import PAGE
from guest_sdk.work.syscall import DEFAULT_OPERATIONS, NAME, OPERATION, PROGRAM_PAGES, STACK_PAGES, TEXT, add_data
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

KERNEL_STACK_BYTES: Final = PAGE


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("kernel_stack", KERNEL_STACK_BYTES)
    guest.call.map("program", "program", PROGRAM_PAGES, "MAP_PRESENT | MAP_USER | MAP_EXECUTE")
    guest.call.map("program_stack", "program_stack", STACK_PAGES, "MAP_PRESENT | MAP_USER | MAP_WRITE")
    guest.call.set_kernel_stack(f"kernel_stack + {KERNEL_STACK_BYTES}")
    guest.call.set_syscall_entry("entry")
    guest.asm("jmp work")
    guest.asm("entry:\ncall serve\npush rax        ; the result, on top of the frame that entry left")
    guest.call.return_from_event()
    add_way_in(guest)
    return finish(guest, operations, TEXT)


def add_way_in(guest: Guest) -> None:
    """work: build the frame of an event that came from the program's first instruction, and return from it."""
    guest.asm("""
    work:
        mov [kernel_rsp], rsp
        push USER_SS
        push program_stack_end
        push 0x202              ; RFLAGS: IF, and the bit that is always set
        push USER_CS
        push program
        push 0                  ; RAX
    """)
    guest.call.return_from_event()
