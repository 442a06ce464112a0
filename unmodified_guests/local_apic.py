"""How does a kernel find its local APIC? Its page mapped uncached, the APIC enabled, its timer's rate measured.

Intel SDM vol. 3, chapter 11: 11.4 (the page), 11.5.4 (timer), 11.9 (spurious interrupts). The timer's clock is in no
register, so its rate is taken from the 8254's.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest
from guest_sdk.work import PAGE
from unmodified_guests.chips import TIMER, TIMER_HZ
from unmodified_guests.paging import DATA, LARGE, TABLE

APIC: Final = 0xFEE0_0000
EOI, SPURIOUS, ICR_LOW = 0xB0, 0xF0, 0x300
LVT_TIMER, INITIAL_COUNT, CURRENT_COUNT, DIVIDE = 0x320, 0x380, 0x390, 0x3E0

EVENT_VECTOR: Final = 0x30
SPURIOUS_VECTOR: Final = 0x3F
ENABLE: Final = 1 << 8  # of SPURIOUS
TO_SELF: Final = 1 << 18  # of ICR_LOW: the shorthand
BY_1: Final = 0b1011  # of DIVIDE
MASKED: Final = 1 << 16  # of LVT_TIMER; without it and in mode 0, one interrupt a count
UNCACHED: Final = 0x18  # PCD and PWT
MEASURED_CLOCKS: Final = 120  # of the 8254: 100 us

START: Final = f"""
start_apic:
    mov edx, {APIC:#x}
    mov dword ptr [rdx + {SPURIOUS:#x}], {ENABLE | SPURIOUS_VECTOR:#x}
    ret
spurious:
    iretq
"""

MEASURE: Final = f"""
measure_apic:                   ; EDI: clocks of the 8254; EAX: as long in ticks of the APIC's timer
    push rbx
    mov r8d, {APIC:#x}
    mov dword ptr [r8 + {DIVIDE:#x}], {BY_1:#x}
    mov dword ptr [r8 + {LVT_TIMER:#x}], {MASKED:#x}
    call read_8254
    mov r9d, ecx
    mov dword ptr [r8 + {INITIAL_COUNT:#x}], 0xffffffff
.again:
    call read_8254
    mov ebx, r9d
    sub ebx, ecx
    movzx ebx, bx               ; it counts down, and round
    cmp ebx, {MEASURED_CLOCKS}
    jb .again
    mov eax, [r8 + {CURRENT_COUNT:#x}]
    not eax
    mul rdi
    div rbx
    pop rbx
    ret
read_8254:                      ; ECX: counter 0
    xor eax, eax
    out {TIMER + 3:#x}, al
    in al, {TIMER:#x}
    mov ecx, eax
    in al, {TIMER:#x}
    shl eax, 8
    or ecx, eax
    ret
"""


def clocks(ns: int) -> int:
    """So long in clocks of the 8254."""
    return round(ns * TIMER_HZ / 1e9)


def map_page(guest: Guest) -> None:
    """Map the page to itself; the lines belong after build_tables."""
    guest.bss("apic_directory", PAGE, align=PAGE)
    entry = APIC >> 21 & 511
    guest.asm(f"""
    mov rax, {DATA | LARGE | UNCACHED | APIC:#x}
    mov [apic_directory + {entry * 8}], rax
    mov qword ptr [directory_pointers + {(APIC >> 30) * 8}], apic_directory + {TABLE}
    """)
