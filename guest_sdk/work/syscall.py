"""The job of `syscall`: a program at CPL 3 calls its kernel, which adds the argument into a sum and returns the sum.

System calls: EAX 0 adds EDI and returns the sum in EAX, 1 ends the program with the result EDI.
The guest's own: `work` enters `program` at CPL 3 with the stack below `program_stack_end`; an entry that calls `serve`
on the kernel's stack and returns to CPL 3 with what that left in RAX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from guest_sdk.work import PAGE, mix, mixed

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "syscall"
OPERATION: Final = "a system call to the guest's kernel"
DEFAULT_OPERATIONS: Final = 600_000

PROGRAM_PAGES: Final = 1
STACK_PAGES: Final = 1
STEP: Final = 7  # operation n adds n * STEP

# The program has pages of its own: they are the ones that CPL 3 may execute.
TEXT: Final = f"""
.align {PAGE}
program:
    xor ebx, ebx
    mov ebp, 1                  ; the checksum, of every answer
.again:
    imul edi, ebx, {STEP}
    xor eax, eax
    syscall
    {mix("ebp", "eax")}
    inc ebx
    cmp ebx, OPERATIONS
    jb .again
    mov edi, ebp
    mov eax, 1
    syscall
    ud2                         ; that does not return
.align {PAGE}

serve:
    test eax, eax
    jnz .end
    mov eax, [sum]
    add eax, edi
    mov [sum], eax
    ret
.end:
    mov rcx, kernel_rsp
    mov rsp, [rcx]              ; back to where the kernel left for the program
    mov eax, edi
    jmp print_result
"""


def add_data(guest: Guest) -> None:
    """The sum, the kernel's stack pointer at `work`, and the program's stack, on a page of its own."""
    guest.bss("sum", 4)
    guest.bss("kernel_rsp", 8)
    guest.bss("program_stack", STACK_PAGES * PAGE, align=PAGE)
    guest.bss("program_stack_end", PAGE, align=PAGE)  # so that nothing of the kernel's shares its page


def expected(operations: int) -> int:
    """The result."""
    total, state = 0, 1
    for operation in range(operations):
        total = (total + operation * STEP) % (1 << 32)
        state = mixed(state, total)
    return state
