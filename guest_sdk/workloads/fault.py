"""fault, paravirtual: the trap table says where page faults go, the event page has CR2, a call maps, a call returns."""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest
from guest_sdk.work import PAGE
from guest_sdk.work.fault import DEFAULT_OPERATIONS, FRAME, NAME, OPERATION, PAGES, TEXT, WINDOW, add_data
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

PAGE_FAULT: Final = 14
SAVED: Final = ("rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")  # RAX goes where the error code was


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("events", PAGE, align=PAGE)
    guest.fields("traps", [(4, PAGE_FAULT), (4, 0), (8, "page_fault")])
    guest.call.event_page("events", "upcall")
    guest.call.set_trap_table("traps", 1)
    guest.asm("jmp work")
    add_handlers(guest)
    guest.asm("unmap_window:")
    guest.call.unmap(gva=WINDOW, pages=PAGES)
    guest.asm("ret")
    return finish(guest, operations, TEXT)


def add_handlers(guest: Guest) -> None:
    """page_fault, and an upcall that nothing asks for."""
    guest.asm("page_fault:\nxchg [rsp], rax")
    guest.asm("\n".join(f"push {register}" for register in SAVED))
    guest.asm("mov rdi, events\nmov rdi, [rdi + EVENT_PAGE_CR2]\nmov rsi, rdi")
    guest.asm(FRAME)
    guest.asm(f"and rdi, {-PAGE}")
    guest.call.map(gva="rdi", gpa="rsi", pages=1, flags="MAP_PRESENT | MAP_WRITE")
    guest.asm("\n".join(f"pop {register}" for register in reversed(SAVED)))
    guest.call.return_from_event()
    guest.asm("upcall:\npush rax")
    guest.call.return_from_event()
