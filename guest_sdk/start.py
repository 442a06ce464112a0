"""What runs before main? Stack, hypercall page (paravirtual guests), main, exit with EAX as the status."""

from __future__ import annotations

from typing import Final

from guest_sdk.calls import PAGE_LABEL

STACK_BYTES: Final = 16 * 1024
STACK_LABEL: Final = "boot_stack"

PARAVIRT: Final = f"""
_start:
    mov rsp, {STACK_LABEL} + {STACK_BYTES}
    mov ecx, HYPERCALL_PAGE_MSR
    mov eax, {PAGE_LABEL} | 1
    xor edx, edx
    wrmsr
    call main
    mov edi, eax
    mov eax, CALL_EXIT
    call {PAGE_LABEL}
    ud2                         ; exit does not return
"""

UNMODIFIED: Final = f"""
_start:
    mov rsp, {STACK_LABEL} + {STACK_BYTES}
    call main
    out DEBUG_EXIT_PORT, al
.stopped:
    cli
    hlt
    jmp .stopped
"""


def start_code(*, paravirt: bool) -> str:
    """The text of `_start`; it needs a label `main`, and the stack's piece of .bss."""
    return PARAVIRT if paravirt else UNMODIFIED
