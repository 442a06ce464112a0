"""What does every paravirtual workload begin and end with? Nothing beside its own few calls: no tables to build."""

from __future__ import annotations

from guest_sdk.builder import Guest
from guest_sdk.work import add, check_operations


def begin(name: str, operations: int) -> Guest:
    """A guest whose next lines are its set-up. Raises ValueError for a bad number of operations."""
    check_operations(operations)
    return Guest(f"{name}-paravirt", paravirt=True).asm("main:")


def finish(guest: Guest, operations: int, text: str) -> bytes:
    """Set-up is done: go on with the job in `text`. The ELF."""
    guest.asm("jmp work")
    add(guest, operations, text)
    return guest.build()
