"""clock, unmodified: latch counter 0 of the 8254 and read both bytes; the kernel extends the 16 bits.

The 8254 is the clock that every PC has at a known rate. RDTSC would be one exit instead of three, but what it counts
is in no PC's manual: a kernel calibrates it against the 8254 first, and distrusts it where a monitor may lie beneath.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work.clock import DEFAULT_OPERATIONS, NAME, OPERATION, TEXT
from unmodified_guests.chips import TIMER
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

# The counter goes down. Between two reads it goes by less than half its period, so a difference has a sign.
READ_CLOCK: Final = f"""
read_clock:
    xor eax, eax
    out {TIMER + 3:#x}, al      ; latch counter 0
    in al, {TIMER:#x}
    mov ecx, eax
    in al, {TIMER:#x}
    shl eax, 8
    or eax, ecx
    mov ecx, [timing_count]
    mov [timing_count], eax
    sub ecx, eax
    movsx rcx, cx
    mov rax, [timing_clocks]
    add rax, rcx
    mov [timing_clocks], rax
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    guest.bss("timing_count", 4)
    guest.bss("timing_clocks", 8)  # `timing_`: what `pvkit check` leaves out, this memory and the job's R12
    guest.asm("timing_r12:")
    return finish(guest, operations, READ_CLOCK + TEXT)
