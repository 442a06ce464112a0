"""timer, paravirtual: a periodic timer raises a port, and the guest sleeps by a call until it is raised.

Upcalls stay off: the guest asked to be woken, so it looks at the port itself, and no call has to end an upcall.
"""

from __future__ import annotations

from guest_sdk.builder import Guest
from guest_sdk.work import PAGE
from guest_sdk.work.timer import DEFAULT_OPERATIONS, NAME, OPERATION, PERIOD_NS, TEXT
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_port(guest)
    guest.asm("jmp work")
    guest.asm("start_ticks:")
    guest.call.clock_read()
    guest.asm(f"add rax, {PERIOD_NS}")
    guest.call.timer_set("[port]", "rax", PERIOD_NS)
    guest.asm("ret")
    add_wait(guest, "wait_tick")
    return finish(guest, operations, TEXT)


def add_port(guest: Guest) -> None:
    """An event page with upcalls off, and `port`, an open one."""
    guest.bss("events", PAGE, align=PAGE)
    guest.bss("port", 8)
    guest.bss("fired", 4)
    guest.call.event_page("events", "no_upcall")
    guest.call.event_open()
    guest.asm("mov [port], rax")


def add_wait(guest: Guest, label: str) -> None:
    """A routine that sleeps until the port is raised, and returns in EAX how often it was so far."""
    guest.asm(f"{label}:")
    guest.call.event_wait()
    guest.asm(f"""
        mov ecx, [port]
        btr dword ptr [events + EVENT_PAGE_PENDING], ecx
        jnc {label}
        inc dword ptr [fired]
        mov eax, [fired]
        ret
    no_upcall:
        ud2
    """)
