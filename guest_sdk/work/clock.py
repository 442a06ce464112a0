"""The job of `clock`: read the time and see that it never goes back. The result is how many reads did not.

The guest's own: read_clock, which returns the time in RAX, in whatever unit.
"""

from __future__ import annotations

from typing import Final

NAME: Final = "clock"
OPERATION: Final = "read the time"
DEFAULT_OPERATIONS: Final = 150_000

TEXT: Final = """
work:
    xor ebx, ebx                ; reads
    xor ebp, ebp                ; those not before the last
    xor r12d, r12d              ; the last
.again:
    call read_clock
    cmp rax, r12
    jb .backward
    inc ebp
.backward:
    mov r12, rax
    inc ebx
    cmp ebx, OPERATIONS
    jb .again
    mov eax, ebp
    jmp print_result
"""


def expected(operations: int) -> int:
    """The result: time is monotonic."""
    return operations
