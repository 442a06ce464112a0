"""cpuid-msr, unmodified: CPUID, WRMSR, RDMSR."""

from __future__ import annotations

from typing import Final

from guest_sdk.work.cpuid_msr import DEFAULT_OPERATIONS, MSR, NAME, OPERATION, TEXT, add_data
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

EXCHANGE: Final = f"""
exchange:
    push rbx
    mov eax, edi
    xor ecx, ecx
    cpuid
    mov [answer], eax
    mov [answer + 4], ebx
    mov [answer + 8], ecx
    mov [answer + 12], edx
    mov ecx, {MSR:#x}
    mov eax, esi
    shr rsi, 32
    mov edx, esi
    wrmsr
    rdmsr
    shl rdx, 32
    or rax, rdx
    pop rbx
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    return finish(guest, operations, EXCHANGE + TEXT)
