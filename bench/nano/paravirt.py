"""What does a paravirtual kernel do for each row? It calls, or looks at a page that it shares with the monitor.

As in unmodified.py the loop counts in EBX and handlers in EBP. Where a row's operation is harmless or has no
better form, the text is the unmodified one.
"""

from __future__ import annotations

from typing import Final

from bench.nano import spaces, unmodified
from bench.nano.unmodified import DIVIDING_BYTES, FAULTING_BYTES, KERNEL_GS_BASE, Form, text
from guest_sdk import abi
from guest_sdk.builder import Guest
from guest_sdk.work import FREE_MEMORY, PAGE
from guest_sdk.work.map import WINDOW
from guest_sdk.workloads import fault, self_event, syscall
from guest_sdk.workloads.clock import READ_CLOCK
from guest_sdk.workloads.kernel import begin, finish
from unmodified_guests.paging import EFER

WHOLE: Final = {  # guests that are more than a loop, most of them the workloads'
    "syscall": syscall.build,
    "first touch": fault.build,
    "8 spaces": spaces.paravirt,
    "self_ipi": self_event.build,
}


def call(name: str) -> str:
    """The hypercall of that name; its arguments stand in their registers."""
    return f"mov eax, {abi.BY_NAME[name].number:#x}\n    vmcall"


def trapped(form: Form, vector: int, bytes_over: int, *, error_code: bool) -> Form:
    """A form whose exception of `vector` comes by the table of traps, to a handler that steps over the instruction."""

    def add_table(guest: Guest) -> None:
        guest.fields("traps", [(4, vector), (4, 0), (8, "trapped")])
        guest.call.set_trap_table("traps", 1)

    keep = "xchg [rsp], rax" if error_code else "push rax"  # return_from_event takes RAX from the frame's top
    handler = f"""
trapped:
    {keep}
    add qword ptr [rsp + 8], {bytes_over}
    inc ebp
    {call("return_from_event")}
"""
    return Form(form.body, form.setup, handler, prepare=add_table)


def events(guest: Guest) -> None:
    """The event page, with an upcall that nothing asks for."""
    guest.bss("events", PAGE, align=PAGE)
    guest.call.event_page("events", "upcall")


def clock(guest: Guest) -> None:
    guest.bss("clock", PAGE, align=PAGE)
    guest.call.clock_page("clock")


def value(guest: Guest) -> None:
    guest.bss("value", 8)


UPCALL: Final = f"upcall:\n    push rax\n    {call('return_from_event')}"
REMAP: Final = (
    f"mov rdi, r13\n    mov rsi, r12\n    mov edx, 1\n    mov r10d, 3\n    {call('map')}"  # present, writable
)
PAGES: Final = f"mov r12d, {FREE_MEMORY:#x}\n    mov r13, {WINDOW:#x}"
MODIFY: Final = f"xor r12, {PAGE}\n    {REMAP}"

FORMS: Final[dict[str, Form]] = {
    "cr8wr": Form("mov byte ptr [events + EVENT_PAGE_ENABLED], 0", routines=UPCALL, prepare=events),
    "call/ret": unmodified.FORMS["call/ret"],
    "pgfault": trapped(unmodified.FORMS["pgfault"], unmodified.PAGE_FAULT, FAULTING_BYTES, error_code=True),
    "divzero": trapped(unmodified.FORMS["divzero"], unmodified.DIVIDE_ERROR, DIVIDING_BYTES, error_code=False),
    "ptemod": Form(MODIFY, PAGES),
    "ptemod, used": Form(f"{MODIFY}\n    mov rax, [r13]", PAGES),
    "cpuid": unmodified.FORMS["cpuid"],
    "vmcall": Form(call("abi_version")),
    "mov_from_cr8": Form("movzx eax, byte ptr [events + EVENT_PAGE_ENABLED]", routines=UPCALL, prepare=events),
    "rdmsr": Form(f"mov edi, {EFER:#x}\n    mov rsi, value\n    {call('msr_read')}", prepare=value),
    "wrmsr": Form(f"mov edi, {KERNEL_GS_BASE:#x}\n    xor esi, esi\n    {call('msr_write')}"),
    "rdtsc": Form("call read_clock", routines=READ_CLOCK, prepare=clock),
    "pause": unmodified.FORMS["pause"],
    "invlpg": Form(REMAP, f"mov r12d, {FREE_MEMORY:#x}\n    mov r13d, {FREE_MEMORY:#x}"),
}


def build(name: str, operations: int) -> bytes:
    """The guest of row `name`, as an ELF. Raises ValueError for a bad number of operations."""
    if name in WHOLE:
        return WHOLE[name](operations)
    form = FORMS[name]
    guest = begin("nano", operations)
    form.prepare(guest)
    return finish(guest, operations, text(form))
