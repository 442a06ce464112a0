"""self-event, paravirtual: a call raises a port of the guest's own, the upcall comes at once, a call ends it."""

from __future__ import annotations

from guest_sdk.work import PAGE
from guest_sdk.work.self_event import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("events", PAGE, align=PAGE)
    guest.bss("port", 8)
    guest.call.event_page("events", "upcall")
    guest.call.event_open()
    guest.asm("mov [port], rax\njmp work")
    guest.asm("start_events:\nmov byte ptr [events + EVENT_PAGE_ENABLED], 1\nret")
    guest.asm("send_event:")
    guest.call.event_send("[port]")
    guest.asm("""
        ret
    upcall:
        push rax
        push rcx
        mov ecx, [port]
        btr dword ptr [events + EVENT_PAGE_PENDING], ecx
        adc dword ptr [events_taken], 0
        pop rcx
    """)
    guest.call.return_from_event()
    return finish(guest, operations, TEXT)
