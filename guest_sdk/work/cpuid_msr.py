"""The job of `cpuid-msr`: ask which processor this is, write a model-specific register and read it back.

The leaves are those that say the same to a guest of either form. The register is IA32_KERNEL_GS_BASE, which nothing
but its own instructions look at.
The guest's own: exchange(EDI leaf, RSI value), which leaves EAX, EBX, ECX and EDX of the leaf at `answer`, writes the
value to the register, and returns in RAX what it then reads from there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from guest_sdk.work import mix, mixed

if TYPE_CHECKING:
    from guest_sdk.builder import Guest

NAME: Final = "cpuid-msr"
OPERATION: Final = "a CPUID, an MSR written and read back"
DEFAULT_OPERATIONS: Final = 100_000

MSR: Final = 0xC000_0102
LEAVES: Final = (0, 0x8000_0000, 0x8000_0002, 0x8000_0003, 0x8000_0004)  # vendor, highest leaf, brand string
FIRST_VALUE: Final = 0x1_2345_0000  # operation n writes n more

TEXT: Final = f"""
work:
    xor r12d, r12d              ; operations
    xor r13d, r13d              ; the leaf's place in the list
    xor ebp, ebp                ; the checksum
    mov r14, {FIRST_VALUE:#x}
.again:
    mov edi, [leaves + r13*4]
    lea rsi, [r14 + r12]
    call exchange
    xor ecx, ecx
.answered:
    mov edx, [answer + rcx*4]
    {mix("ebp", "edx")}
    inc ecx
    cmp ecx, 4
    jb .answered
    {mix("ebp", "eax")}
    shr rax, 32
    {mix("ebp", "eax")}
    inc r13d
    cmp r13d, {len(LEAVES)}
    jb .listed
    xor r13d, r13d
.listed:
    inc r12d
    cmp r12d, OPERATIONS
    jb .again
    mov eax, ebp
    jmp print_result
"""


def add_data(guest: Guest) -> None:
    """The leaves, and room for an answer."""
    guest.rodata("leaves", struct.pack(f"<{len(LEAVES)}I", *LEAVES))
    guest.bss("answer", 16)


def expected(operations: int, processor: Mapping[int, tuple[int, int, int, int]]) -> int:
    """The result on a processor whose CPUID leaves are `processor`: EAX, EBX, ECX and EDX of each."""
    state = 0
    for operation in range(operations):
        value = FIRST_VALUE + operation
        for part in (*processor[LEAVES[operation % len(LEAVES)]], value % (1 << 32), value >> 32):
            state = mixed(state, part)
    return state
