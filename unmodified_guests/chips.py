"""How does a kernel find its chips ready? The two 8259s, the 16550 of COM1 and counter 0 of the 8254.

Data sheets: 8259A (initialization command words), PC16550D (8.1 to 8.6), 82C54 (control word format).
"""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest

TIMER_VECTOR: Final = 0x20
DISK_VECTOR: Final = TIMER_VECTOR + 14
MASTER, SLAVE, TIMER, COM1 = 0x20, 0xA0, 0x40, 0x3F8
TIMER_HZ: Final = 1_193_182
END_OF_INTERRUPT: Final = 0x20

WRITES: Final = (  # (port, value), in order
    (MASTER, 0x11), (SLAVE, 0x11),  # ICW1: cascaded, ICW4 follows
    (MASTER + 1, TIMER_VECTOR), (SLAVE + 1, TIMER_VECTOR + 8),  # ICW2: vectors
    (MASTER + 1, 1 << 2), (SLAVE + 1, 2),  # ICW3: the slave is on line 2
    (MASTER + 1, 1), (SLAVE + 1, 1),  # ICW4: 8086 mode
    (MASTER + 1, 0xFF), (SLAVE + 1, 0xFF),  # OCW1: every line masked
    (COM1 + 1, 0),  # IER: polled
    (COM1 + 3, 0x80), (COM1, 1), (COM1 + 1, 0),  # LCR: divisor 1, 115,200 baud
    (COM1 + 3, 3),  # LCR: 8 bits, no parity, 1 stop bit
    (COM1 + 2, 7),  # FCR: FIFOs on and empty
    (COM1 + 4, 3),  # MCR: DTR and RTS
    (TIMER + 3, 0x34), (TIMER, 0), (TIMER, 0),  # counter 0: low byte then high, mode 2, a period of 65,536
)  # fmt: skip


def add(guest: Guest) -> None:
    """Append `start_chips`, and `timer`, the handler of the 8254's interrupt, for TIMER_VECTOR."""
    guest.bss("ticks", 8)
    guest.asm("start_chips:")
    guest.asm("\n".join(f"mov edx, {port:#x}\nmov al, {value:#x}\nout dx, al" for port, value in WRITES))
    guest.asm("ret")
    guest.asm(f"""
    timer:
        push rax
        inc qword ptr [ticks]
        mov al, {END_OF_INTERRUPT:#x}
        out {MASTER:#x}, al
        pop rax
        iretq
    """)
