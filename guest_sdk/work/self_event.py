"""The job of `self-event`: the guest sends an event to itself, and its handler has run when the sending is over.

The guest's own: start_events; send_event, after which the handler has added one to [events_taken], with all that
interrupts the guest between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guest_sdk.work import mix, mixed

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "self-event"
OPERATION: Final = "send oneself an event and handle it"
DEFAULT_OPERATIONS: Final = 150_000

TEXT: Final = f"""
work:
    call start_events
    xor ebx, ebx
    xor ebp, ebp                ; the checksum
.event:
    call send_event
    mov eax, [events_taken]
    {mix("ebp", "eax")}
    inc ebx
    cmp ebx, OPERATIONS
    jb .event
    mov eax, ebp
    jmp print_result
"""


def add_data(guest: Guest) -> None:
    """The number of events that the handler has taken."""
    guest.bss("events_taken", 4)


def expected(operations: int) -> int:
    """The result: each event was taken before the next was sent."""
    state = 0
    for taken in range(1, operations + 1):
        state = mixed(state, taken)
    return state
