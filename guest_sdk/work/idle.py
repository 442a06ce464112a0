"""The job of `idle`: the guest has nothing to do, sets one timer, and sleeps until that wakes it.

The guest's own: start_idling; sleep, which sets a timer for SLEEP_NS from now, sleeps, and returns in EAX how often a
timer has fired so far.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work import mix, mixed

NAME: Final = "idle"
OPERATION: Final = "set a timer, go idle, and be woken by it"
DEFAULT_OPERATIONS: Final = 60_000

SLEEP_NS: Final = 500_000

TEXT: Final = f"""
work:
    call start_idling
    xor ebx, ebx
    xor ebp, ebp                ; the checksum
.idle:
    call sleep
    {mix("ebp", "eax")}
    inc ebx
    cmp ebx, OPERATIONS
    jb .idle
    mov eax, ebp
    jmp print_result
"""


def expected(operations: int) -> int:
    """The result: each sleep was ended by its own timer."""
    state = 0
    for fired in range(1, operations + 1):
        state = mixed(state, fired)
    return state
