"""What is the same in both forms of a workload? The job, as text that either kind of guest's kernel surrounds.

A module here holds one job: NAME, OPERATION, DEFAULT_OPERATIONS, its text, and `expected`, the same job in Python.
The text starts at the label `work` and ends at `print_result` with the result in RAX. Where the two forms differ it
calls a routine of the guest's own. It keeps its state in RBX, RBP and R12-R15, which such a routine leaves alone; the
routine may change every other register.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

MOST_OPERATIONS: Final = 10**9  # a few minutes to some hours; it fits every comparison's imm32
PAGE: Final = 4096
FREE_MEMORY: Final = 0x40_0000  # gpa: frames to map; a guest's image ends below it, and a machine has 8 MiB and more
FACTOR: Final = 31

PRINT_RESULT: Final = """
print_result:
    push rax
    mov rdi, result_text
    call puts
    pop rax
    call print_decimal
    xor eax, eax                ; the exit status
    ret
"""


def check_operations(operations: int) -> int:
    """`operations` itself. Raises ValueError unless it is a whole number from 1 to MOST_OPERATIONS."""
    if isinstance(operations, bool) or not isinstance(operations, int) or not 1 <= operations <= MOST_OPERATIONS:
        raise ValueError(f"operations: {operations!r} is not a whole number from 1 to {MOST_OPERATIONS}")
    return operations


def add(guest: Guest, operations: int, text: str) -> None:
    """Append a job and what prints its result. The guest's own text jumps to `work` where it is set up."""
    from guest_sdk import library  # imported here: the numbers above are of use without an assembler

    guest.constant("OPERATIONS", operations)
    guest.string("result_text", "result ")
    guest.asm(text)
    guest.asm(PRINT_RESULT)
    library.add(guest)


def mix(state: str, value: str) -> str:
    """Lines that take `value` into the checksum `state`, both 32-bit registers. The order of values counts."""
    return f"imul {state}, {state}, {FACTOR}\n    add {state}, {value}"


def mixed(state: int, value: int) -> int:
    """What `mix` leaves in `state`."""
    return (state * FACTOR + value) % (1 << 32)
