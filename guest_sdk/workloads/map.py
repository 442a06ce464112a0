"""map, paravirtual: a call to map and a call to unmap; the monitor's tables are the processor's, so a touch is free."""

from __future__ import annotations

from guest_sdk.work.map import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    guest.asm("jmp work")
    guest.asm("map_page:")
    guest.call.map(gva="rdi", gpa="rsi", pages=1, flags="MAP_PRESENT | MAP_WRITE")
    guest.asm("ret")
    guest.asm("unmap_page:")
    guest.call.unmap(gva="rdi", pages=1)
    guest.asm("ret")
    return finish(guest, operations, TEXT)
