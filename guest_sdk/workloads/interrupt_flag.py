"""interrupt-flag, paravirtual: the flag is a byte that the guest shares with the monitor, so neither way exits.

A guest that turns it on looks whether an event came meanwhile, and asks for it only then.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work import PAGE
from guest_sdk.work.interrupt_flag import DEFAULT_OPERATIONS, NAME, OPERATION, add_data, text
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

OFF: Final = "mov byte ptr [events + EVENT_PAGE_ENABLED], 0"
ON: Final = """
    mov byte ptr [events + EVENT_PAGE_ENABLED], 1
    cmp byte ptr [events + EVENT_PAGE_UPCALL_PENDING], 0
    je .taken
    call deliver
.taken:
"""
# Every port's pending bits are taken.
UPCALL: Final = """
upcall:
    push rax
    push rcx
    mov ecx, EVENT_PORTS / 64
.port:
    mov qword ptr [events + EVENT_PAGE_PENDING + rcx*8 - 8], 0
    dec ecx
    jnz .port
    pop rcx
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("events", PAGE, align=PAGE)
    guest.call.event_page("events", "upcall")
    guest.call.event_open()
    guest.asm(ON)
    guest.asm("jmp work")
    guest.asm("deliver:")
    guest.call.event_deliver()
    guest.asm("ret")
    guest.asm(UPCALL)
    guest.call.return_from_event()
    return finish(guest, operations, text(OFF, ON))
