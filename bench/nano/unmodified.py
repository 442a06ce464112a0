"""What does an unmodified kernel execute for each row? Its text for a plain PC, the same bytes in every column.

The operation is done in a loop counted in EBX. Handlers count in EBP, which is the result: every column must print it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.nano import spaces
from guest_sdk.builder import Guest
from guest_sdk.work import FREE_MEMORY, PAGE
from guest_sdk.work.map import WINDOW
from unmodified_guests import fault, local_apic, self_event, self_event_x2apic, syscall
from unmodified_guests.local_apic import APIC, EOI, EVENT_VECTOR, ICR_LOW, SPURIOUS_VECTOR, TO_SELF
from unmodified_guests.machine import begin, finish
from unmodified_guests.paging import CR0_WP, DATA, EFER, add_window

DIVIDE_ERROR, PAGE_FAULT = 0, 14
KERNEL_GS_BASE: Final = 0xC000_0102
CR4_PGE: Final = 1 << 7
TASK_PRIORITY: Final = 0x80
FAULTING_BYTES, DIVIDING_BYTES = 4, 2  # of `mov al, [r12]` and of `div ecx`
WHOLE: Final = {  # guests that are more than a loop, most of them the workloads'
    "syscall": syscall.build,
    "first touch": fault.build,
    "8 spaces": spaces.unmodified,
    "self_ipi": self_event.build,
    "self_ipi_x2apic": self_event_x2apic.build,
}


@dataclass(frozen=True, slots=True)
class Form:
    """setup, once; body, an operation; routines, beside it. handlers: labels by vector. prepare: before paging."""

    body: str
    setup: str = ""
    routines: str = ""
    handlers: Mapping[int, str] = field(default_factory=dict)
    prepare: Callable[[Guest], None] = lambda _guest: None


def text(form: Form) -> str:
    """The job of a form, between `work` and `print_result`."""
    return f"""
work:
    xor ebp, ebp
    {form.setup}
    mov ebx, OPERATIONS
.again:
    {form.body}
    dec ebx
    jnz .again
    mov eax, ebp
    jmp print_result
{form.routines}
"""


SAFE_APIC: Final = f"""
    call start_apic
    mov r12d, {APIC:#x}
"""
TAKEN: Final = f"""
taken:
    inc ebp
    mov dword ptr [r12 + {EOI:#x}], 0
    iretq
"""
SEND: Final = f"mov dword ptr [r12 + {ICR_LOW:#x}], {TO_SELF | EVENT_VECTOR:#x}"
APIC_HANDLERS: Final = {EVENT_VECTOR: "taken", SPURIOUS_VECTOR: "spurious"}
ENTRY: Final = f"mov r12, {DATA | FREE_MEMORY:#x}\n    mov [window_table], r12\n    mov r13, {WINDOW:#x}"


def step_over(size_bytes: int) -> str:
    """Lines of a handler that goes on behind the instruction, the frame's RIP on top."""
    return f"add qword ptr [rsp], {size_bytes}\n    inc ebp\n    iretq"


def apic(body: str) -> Form:
    """A form with the local APIC in R12."""
    return Form(body, SAFE_APIC, local_apic.START + TAKEN, APIC_HANDLERS, local_apic.map_page)


FORMS: Final[dict[str, Form]] = {
    "in": Form("in al, 0x80"),
    "cr8wr": Form("mov cr8, rax", "xor eax, eax"),
    "call/ret": Form("call leaf", routines="leaf:\n    ret"),
    "pgfault": Form(
        "mov al, [r12]",
        f"mov r12, {WINDOW:#x}",
        f"page_fault:\n    add rsp, 8\n    {step_over(FAULTING_BYTES)}",
        {PAGE_FAULT: "page_fault"},
    ),
    "divzero": Form(
        "div ecx", "xor ecx, ecx", f"divide_error:\n    {step_over(DIVIDING_BYTES)}", {DIVIDE_ERROR: "divide_error"}
    ),
    "ptemod": Form(f"xor r12, {PAGE}\n    mov [window_table], r12", ENTRY, prepare=add_window),
    "ptemod, used": Form(
        f"xor r12, {PAGE}\n    mov [window_table], r12\n    invlpg [r13]\n    mov rax, [r13]", ENTRY, prepare=add_window
    ),
    "cpuid": Form("mov eax, 1\n    push rbx\n    cpuid\n    pop rbx"),
    "mov_from_cr8": Form("mov rax, cr8"),
    "mov_dr": Form("mov dr7, rax", "mov eax, 0x400"),
    "inl_from_kernel": Form("in al, dx", "mov edx, 0x4d0"),
    "outl_to_kernel": Form("out dx, al", "mov edx, 0x4d0\n    xor eax, eax"),
    "inl_from_qemu": Form("in eax, dx", "mov edx, 0x1234"),
    "self_ipi_sti_hlt": apic(f"cli\n    {SEND}\n    sti\n    hlt"),
    "apic_read": apic(f"mov eax, [r12 + {TASK_PRIORITY:#x}]"),
    "apic_write": apic(f"mov [r12 + {TASK_PRIORITY:#x}], eax"),
    "rdmsr": Form("rdmsr", f"mov ecx, {EFER:#x}"),
    "wrmsr": Form("wrmsr", f"mov ecx, {KERNEL_GS_BASE:#x}\n    xor eax, eax\n    xor edx, edx"),
    "rdtsc": Form("rdtsc"),
    "pause": Form("pause"),
    "invlpg": Form("invlpg [r12]", f"mov r12d, {FREE_MEMORY:#x}"),
    "wbinvd": Form("wbinvd"),
    "toggle_cr0_wp": Form(
        f"xor eax, {CR0_WP:#x}\n    mov cr0, rax\n    xor eax, {CR0_WP:#x}\n    mov cr0, rax", "mov rax, cr0"
    ),
    "toggle_cr4_pge": Form(
        f"xor eax, {CR4_PGE:#x}\n    mov cr4, rax\n    xor eax, {CR4_PGE:#x}\n    mov cr4, rax", "mov rax, cr4"
    ),
}


def build(name: str, operations: int) -> bytes:
    """The guest of row `name`, as an ELF. Raises ValueError for a bad number of operations."""
    if name in WHOLE:
        return WHOLE[name](operations)
    form = FORMS[name]
    guest = begin("nano", operations)
    form.prepare(guest)
    return finish(guest, operations, text(form), form.handlers)
