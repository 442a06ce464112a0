"""How does a kernel come up on a plain PC, before its workload begins? Descriptors, page tables, chips, interrupts."""

from __future__ import annotations

from collections.abc import Mapping

from guest_sdk.builder import Guest
from guest_sdk.work import add, check_operations
from unmodified_guests import chips, descriptors, paging


def begin(name: str, operations: int) -> Guest:
    """A guest whose next lines are set-up of its own: its page tables are built by then and not yet loaded.

    Raises ValueError for a bad number of operations.
    """
    check_operations(operations)
    guest = Guest(f"{name}-unmodified", paravirt=False)
    return guest.asm("""
    main:
        cli
        call load_descriptors
        call build_tables
    """)


def finish(guest: Guest, operations: int, text: str, handlers: Mapping[int, str] | None = None) -> bytes:
    """Set-up is done: go on with the job in `text`. handlers: labels by vector beside the timer's. The ELF."""
    guest.asm("""
        call load_tables
        call start_chips
        sti
        jmp work
    """)
    descriptors.add(guest, {chips.TIMER_VECTOR: "timer", **(handlers or {})})
    paging.add(guest)
    chips.add(guest)
    add(guest, operations, text)
    return guest.asm("text_end:").build()
