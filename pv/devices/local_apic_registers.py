"""What are the registers of a local APIC called, and which bits do they have? No behaviour.

Intel SDM vol. 3, chapter 11: table 11-1, figures 11-8, 11-9 and 11-12. A register's number is its offset in the page
divided by 16, which is that of its MSR less 0x800 where an x2APIC has it.
"""

from __future__ import annotations

from typing import Final

BASE: Final = 0xFEE0_0000
PAGE_LAST: Final = BASE + 0xFFF
BASE_ENABLE: Final = 1 << 11  # IA32_APIC_BASE
BASE_EXTENDED: Final = 1 << 10  # with it the registers are MSRs: x2APIC mode
BASE_BOOT_PROCESSOR: Final = 1 << 8
MASK_32: Final = 0xFFFF_FFFF
LEGAL_FIRST: Final = 16  # vectors below are the processor's exceptions
LINT0, LINT1 = 0, 1
PROCESSOR_ID: Final = 0
BROADCAST: Final = 0xFF
EXTENDED_BROADCAST: Final = 0xFFFF_FFFF
EXTENDED_LDR: Final = PROCESSOR_ID >> 4 << 16 | 1 << (PROCESSOR_ID & 0xF)  # of x2APIC mode (11.12.10.2)
VERSION: Final = 0x0005_0014  # an integrated APIC; the last LVT entry is number 5


class Register:
    """Offsets in the page, divided by 16 (table 11-1)."""

    ID, VERSION = 0x02, 0x03
    TPR, APR, PPR, EOI, RRD, LDR, DFR, SVR = 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
    ISR, TMR, IRR = 0x10, 0x18, 0x20  # eight each
    ESR = 0x28
    ICR_LOW, ICR_HIGH = 0x30, 0x31
    LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR = 0x32, 0x33, 0x34, 0x35, 0x36, 0x37
    INITIAL_COUNT, CURRENT_COUNT, DIVIDE = 0x38, 0x39, 0x3E


class Lvt:
    """Bits of an entry of the local vector table (figure 11-8), and of the ICR where they stand there too."""

    VECTOR = 0xFF
    DELIVERY = 0x700
    REMOTE_IRR = 1 << 14
    LEVEL = 1 << 15
    MASKED = 1 << 16
    PERIODIC = 1 << 17


class Mode:
    """Through what a guest reaches the registers; native/apic.c has the same numbers."""

    DISABLED, PAGE, MSRS = 0, 1, 2


FIXED, LOWEST_PRIORITY, NMI, EXTINT = 0x000, 0x100, 0x400, 0x700  # DELIVERY

LVT_WRITABLE: Final = {
    Register.LVT_TIMER: Lvt.VECTOR | Lvt.MASKED | Lvt.PERIODIC,
    Register.LVT_THERMAL: Lvt.VECTOR | Lvt.DELIVERY | Lvt.MASKED,
    Register.LVT_PERFORMANCE: Lvt.VECTOR | Lvt.DELIVERY | Lvt.MASKED,
    Register.LVT_LINT0: Lvt.VECTOR | Lvt.DELIVERY | 1 << 13 | Lvt.LEVEL | Lvt.MASKED,
    Register.LVT_LINT1: Lvt.VECTOR | Lvt.DELIVERY | 1 << 13 | Lvt.LEVEL | Lvt.MASKED,
    Register.LVT_ERROR: Lvt.VECTOR | Lvt.MASKED,
}
LVT_OF_PIN: Final = (Register.LVT_LINT0, Register.LVT_LINT1)


class Icr:
    """Bits of the low word (figure 11-12). The delivery status always reads idle."""

    LOW = 0xFFFF_FFFF
    DESTINATION = 0xFF00_0000 << 32  # of an xAPIC

    LOGICAL = 1 << 11
    WRITABLE = 0xCCFFF  # vector, delivery, destination mode, level, trigger, shorthand; not bit 12
    SHORTHAND = 0xC0000
    NO_SHORTHAND, TO_SELF, TO_ALL = 0x00000, 0x40000, 0x80000


class Svr:
    ENABLED = 1 << 8
    WRITABLE = 0x1FF  # no focus checking, no suppression of EOI broadcasts


class Esr:
    """Figure 11-9."""

    SEND_ILLEGAL_VECTOR = 1 << 5
    RECEIVE_ILLEGAL_VECTOR = 1 << 6
    ILLEGAL_REGISTER = 1 << 7


DFR_FLAT: Final = 0xF
DFR_ONES: Final = 0x0FFF_FFFF

RANGES: Final = {"ISR": 8, "TMR": 8, "IRR": 8}  # registers of 32 bits each
NAMES: Final = {
    index + word: f"{name}{word}"
    if name in RANGES
    else name.replace("_", " ").replace("LOW", "low").replace("HIGH", "high")
    for name, index in vars(Register).items()
    if name.isupper()
    for word in range(RANGES.get(name, 1))
}
