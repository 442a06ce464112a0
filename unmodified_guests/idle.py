"""idle, unmodified: the local APIC's timer counts down once, and its interrupt ends HLT."""

from __future__ import annotations

from typing import Final

from guest_sdk.work.idle import DEFAULT_OPERATIONS, NAME, OPERATION, SLEEP_NS, TEXT
from unmodified_guests.local_apic import (
    APIC,
    EOI,
    EVENT_VECTOR,
    INITIAL_COUNT,
    LVT_TIMER,
    MEASURE,
    SPURIOUS_VECTOR,
    START,
    clocks,
    map_page,
)  # fmt: skip
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

# The look at `fired` and HLT are one step for the handler: STI lets interrupts in after the instruction behind it.
SLEEP: Final = f"""
start_idling:
    call start_apic
    mov edi, {clocks(SLEEP_NS)}
    call measure_apic
    mov [timing_apic_ticks], eax
    mov edx, {APIC:#x}
    mov dword ptr [rdx + {INITIAL_COUNT:#x}], 0
    mov dword ptr [rdx + {LVT_TIMER:#x}], {EVENT_VECTOR:#x}
    ret
sleep:
    mov ecx, [fired]
    mov edx, {APIC:#x}
    mov eax, [timing_apic_ticks]
    mov [rdx + {INITIAL_COUNT:#x}], eax
.again:
    cli
    cmp ecx, [fired]
    jne .woken
    sti
    hlt
    jmp .again
.woken:
    sti
    mov eax, [fired]
    ret
timer_fired:
    push rdx
    inc dword ptr [fired]
    mov edx, {APIC:#x}
    mov dword ptr [rdx + {EOI:#x}], 0
    pop rdx
    iretq
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    guest.bss("fired", 4)
    guest.bss(
        "timing_apic_ticks", 4
    )  # `timing_`: what `pvkit check` leaves out, and what measuring leaves in registers
    guest.asm("timing_r9:")
    map_page(guest)
    handlers = {EVENT_VECTOR: "timer_fired", SPURIOUS_VECTOR: "spurious"}
    return finish(guest, operations, START + MEASURE + SLEEP + TEXT, handlers)
