"""The job of `interrupt-flag`: critical sections. Interrupts off, a counter goes up, interrupts on.

The guest's own: the lines that turn interrupts off and on, in place, since a call would cost more than they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guest_sdk.work import mix, mixed

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "interrupt-flag"
OPERATION: Final = "a critical section: interrupts off, count, on"
DEFAULT_OPERATIONS: Final = 1_500_000


def text(off: str, on: str) -> str:
    """The job, with the guest's way to turn interrupts off and on."""
    return f"""
work:
    xor ebp, ebp                ; the checksum
.section:
    {off}
    mov eax, [counter]
    inc eax
    mov [counter], eax
    {mix("ebp", "eax")}
    {on}
    cmp dword ptr [counter], OPERATIONS
    jb .section
    mov eax, ebp
    jmp print_result
"""


def add_data(guest: Guest) -> None:
    """The counter."""
    guest.bss("counter", 4)


def expected(operations: int) -> int:
    """The result."""
    state = 0
    for counter in range(1, operations + 1):
        state = mixed(state, counter)
    return state
