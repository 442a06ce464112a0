"""console, paravirtual: one console_write a line."""

from __future__ import annotations

from guest_sdk.work.console import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    return finish(guest, operations, TEXT)  # console_out is the guest library's, a hypercall
