"""Guests that work their local APIC, by its page or by MSRs, with interrupt-controller virtualization and without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pv.outcome import Outcome
from tests.pv.engines.unicorn.guests import DATA, USER, TrapGuest

APIC: Final = 0xFEE0_0000
PAGE: Final = DATA + 0x4000  # where a guest maps it
OFF, ON = "hardware", "hardware-apicv"
DONE: Final = "; mov al, 0xee; out 0xf4, al"
END: Final = {("IO_INSTRUCTION", "port 0xf4 write"): 1}
EXTENDED: Final = "mov ecx, 0x1b; rdmsr; or eax, 0x400; wrmsr; "
SELF: Final = 0x40000
ID, VERSION, TPR, PPR, EOI, LDR, DFR, SVR = 0x20, 0x30, 0x80, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0
ISR, TMR, IRR, ICR, ICR_HIGH = 0x100, 0x180, 0x200, 0x300, 0x310
LVT_TIMER, LVT_LINT0, COUNT, DIVIDE, SELF_IPI = 0x320, 0x350, 0x380, 0x3E0, 0x3F0


def put(register: int, value: int, *, msrs: bool = False) -> str:
    """A write of a register, named by its offset in the page. By MSR it changes RAX, RCX and RDX."""
    if msrs:
        return f"mov ecx, {0x800 + register // 16}; mov eax, {value & 0xFFFFFFFF}; mov edx, {value >> 32}; wrmsr; "
    return f"mov dword ptr [rbx + {register}], {value}; "


def get(register: int, *, msrs: bool = False) -> str:
    """Read it into EAX."""
    return f"mov ecx, {0x800 + register // 16}; rdmsr; " if msrs else f"mov eax, [rbx + {register}]; "


def end(*, msrs: bool = False) -> str:
    """A handler's EOI and return, that keep every register."""
    if msrs:
        return f"push rax; push rcx; push rdx; {put(EOI, 0, msrs=True)} pop rdx; pop rcx; pop rax; iretq"
    return f"{put(EOI, 0)} iretq"


def apic_guest(
    code: str, handlers: Mapping[int, str], technique: str, *, msrs: bool = False, **options: Any
) -> TrapGuest:
    """RBX points at the APIC, whose registers are MSRs where `msrs` says so; R14 is 0. Code by vector in `handlers`."""
    pieces: dict[int, str | bytes] = {USER + 0x100 * index: text for index, text in enumerate(handlers.values())}
    start = f"mov ebx, {PAGE}; xor r14d, r14d; {EXTENDED if msrs else ''}"
    made = TrapGuest(f"{start}{code}{DONE}", pieces, technique=technique, **options)
    for index, vector in enumerate(handlers):
        made.gate(vector, USER + 0x100 * index)
    made.memory.write_uint(made.page_entry(PAGE), 8, APIC | 0x1B)
    return made


def start_exits(*, msrs: bool = False) -> dict[tuple[str, str], int]:
    """What apic_guest's own beginning and end cost."""
    mode = {("MSR_READ", "APIC_BASE"): 1, ("MSR_WRITE", "APIC_BASE"): 1}
    return {**END, **(mode if msrs else {})}


def virtualized(outcome: Outcome) -> tuple[int, int]:
    """(accesses, interrupts) that virtualization carried out."""
    events = outcome.events
    return events["APIC accesses virtualized"], events["virtual interrupts delivered"]
