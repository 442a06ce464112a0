"""The job of `timer`: a thousand ticks a second. The guest sleeps from one to the next, and none is lost.

The guest's own: start_ticks; wait_tick(EBX ticks seen), which sleeps until there are more and returns all in EAX.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work import mix, mixed

NAME: Final = "timer"
OPERATION: Final = "sleep until the next tick, a thousand a second"
DEFAULT_OPERATIONS: Final = 60_000

PERIOD_NS: Final = 1_000_000

TEXT: Final = f"""
work:
    call start_ticks
    xor ebx, ebx                ; ticks
    xor ebp, ebp                ; the checksum
.tick:
    call wait_tick
    {mix("ebp", "eax")}
    inc ebx
    cmp ebx, OPERATIONS
    jb .tick
    mov eax, ebp
    jmp print_result
"""


def expected(operations: int) -> int:
    """The result: each tick was seen alone."""
    state = 0
    for tick in range(1, operations + 1):
        state = mixed(state, tick)
    return state
