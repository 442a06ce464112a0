"""self-event, unmodified: an interprocessor interrupt to oneself by the local APIC, its handler, and the EOI."""

from __future__ import annotations

from typing import Final

from guest_sdk.work.self_event import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from unmodified_guests.local_apic import (
    APIC,
    EOI,
    EVENT_VECTOR,
    ICR_LOW,
    SPURIOUS_VECTOR,
    START,
    TO_SELF,
    map_page,
)  # fmt: skip
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

EVENTS: Final = f"""
start_events:
    jmp start_apic
send_event:
    mov edx, {APIC:#x}
    mov ecx, [events_taken]
    mov dword ptr [rdx + {ICR_LOW:#x}], {TO_SELF | EVENT_VECTOR:#x}
.until:
    cmp ecx, [events_taken]
    je .until
    ret
event:
    push rdx
    inc dword ptr [events_taken]
    mov edx, {APIC:#x}
    mov dword ptr [rdx + {EOI:#x}], 0
    pop rdx
    iretq
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    map_page(guest)
    handlers = {EVENT_VECTOR: "event", SPURIOUS_VECTOR: "spurious"}
    return finish(guest, operations, START + EVENTS + TEXT, handlers)
