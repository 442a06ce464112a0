"""interrupt-flag, unmodified: CLI and STI. The timer's handler is there; its line is masked."""

from __future__ import annotations

from guest_sdk.work.interrupt_flag import DEFAULT_OPERATIONS, NAME, OPERATION, add_data, text
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    return finish(guest, operations, text("cli", "sti"))
