"""timer, unmodified: the 8254 ticks through the 8259, whose interrupt ends HLT and is acknowledged by an EOI."""

from __future__ import annotations

from typing import Final

from guest_sdk.work.timer import DEFAULT_OPERATIONS, NAME, OPERATION, PERIOD_NS, TEXT
from unmodified_guests.chips import MASTER, TIMER, TIMER_HZ
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

DIVISOR: Final = round(TIMER_HZ * PERIOD_NS / 1e9)
RATE_GENERATOR: Final = 0x34  # counter 0, low byte then high, mode 2
ALL_BUT_TIMER: Final = 0xFE

# The look at the ticks and HLT are one step for the handler: STI lets interrupts in after the instruction behind it.
TICKS: Final = f"""
start_ticks:
    mov al, {RATE_GENERATOR:#x}
    out {TIMER + 3:#x}, al
    mov al, {DIVISOR & 0xFF:#x}
    out {TIMER:#x}, al
    mov al, {DIVISOR >> 8:#x}
    out {TIMER:#x}, al
    mov al, {ALL_BUT_TIMER:#x}
    out {MASTER + 1:#x}, al
    ret
wait_tick:
    cli
    mov eax, [ticks]
    cmp eax, ebx
    ja .ticked
    sti
    hlt
    jmp wait_tick
.ticked:
    sti
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    return finish(begin(NAME, operations), operations, TICKS + TEXT)
