"""idle, paravirtual: a call sets the timer, for which the shared page has the time, and a call sleeps."""

from __future__ import annotations

from guest_sdk.work import PAGE
from guest_sdk.work.idle import DEFAULT_OPERATIONS, NAME, OPERATION, SLEEP_NS, TEXT
from guest_sdk.workloads.clock import READ_CLOCK
from guest_sdk.workloads.kernel import begin, finish
from guest_sdk.workloads.timer import add_port, add_wait

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    guest.bss("clock", PAGE, align=PAGE)
    guest.call.clock_page("clock")
    add_port(guest)
    guest.asm("jmp work")
    guest.asm("start_idling:\nret")
    guest.asm(f"sleep:\ncall read_clock\nadd rax, {SLEEP_NS}")
    guest.call.timer_set("[port]", "rax", 0)
    add_wait(guest, "wait")
    return finish(guest, operations, READ_CLOCK + TEXT)
