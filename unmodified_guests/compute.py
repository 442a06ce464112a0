"""compute, unmodified: the control. Its kernel has nothing to do."""

from __future__ import annotations

from guest_sdk.work.compute import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    return finish(guest, operations, TEXT)
