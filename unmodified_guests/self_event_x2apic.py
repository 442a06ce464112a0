"""self-event by x2APIC, unmodified: the local APIC's registers as MSRs, SELF IPI to oneself, its handler, and the EOI.

Intel SDM vol. 3, 11.12. The page is neither mapped nor used: firmware left the APIC enabled, and one bit of its base
register makes the registers MSRs.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work.self_event import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from unmodified_guests.local_apic import ENABLE, EVENT_VECTOR, SPURIOUS_VECTOR
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

APIC_BASE: Final = 0x1B
EXTENDED: Final = 1 << 10  # of APIC_BASE
EOI, SPURIOUS, SELF_IPI = 0x80B, 0x80F, 0x83F

EVENTS: Final = f"""
start_events:
    mov ecx, {APIC_BASE:#x}
    rdmsr
    or eax, {EXTENDED:#x}
    wrmsr
    mov ecx, {SPURIOUS:#x}
    mov eax, {ENABLE | SPURIOUS_VECTOR:#x}
    xor edx, edx
    wrmsr
    ret
spurious:
    iretq
send_event:
    mov esi, [events_taken]
    mov ecx, {SELF_IPI:#x}
    mov eax, {EVENT_VECTOR:#x}
    xor edx, edx
    wrmsr
.until:
    cmp esi, [events_taken]
    je .until
    ret
event:
    push rax
    push rcx
    push rdx
    inc dword ptr [events_taken]
    mov ecx, {EOI:#x}
    xor eax, eax
    xor edx, edx
    wrmsr
    pop rdx
    pop rcx
    pop rax
    iretq
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    handlers = {EVENT_VECTOR: "event", SPURIOUS_VECTOR: "spurious"}
    return finish(guest, operations, EVENTS + TEXT, handlers)
