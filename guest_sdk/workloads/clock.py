"""clock, paravirtual: the monitor keeps the time on a page that the guest shares, and a read costs no exit."""

from __future__ import annotations

from typing import Final

from guest_sdk.work import PAGE
from guest_sdk.work.clock import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

READ_CLOCK: Final = """
read_clock:
    mov rdi, clock
.again:                         ; an odd or changed sequence says that the page was being written
    mov rcx, [rdi + CLOCK_PAGE_SEQUENCE]
    mov rax, [rdi + CLOCK_PAGE_NS]
    test cl, 1
    jnz .again
    cmp rcx, [rdi + CLOCK_PAGE_SEQUENCE]
    jne .again
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    guest.bss("clock", PAGE, align=PAGE)
    guest.call.clock_page("clock")
    return finish(guest, operations, READ_CLOCK + TEXT)
