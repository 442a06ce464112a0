"""console, unmodified: a 16550, whose line status is polled for each byte before it is written."""

from __future__ import annotations

from guest_sdk.work.console import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    return finish(guest, operations, TEXT)  # console_out is the guest library's, for COM1
