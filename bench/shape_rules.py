"""The shapes themselves: what Adams and Agesen, PVM, KVM, Xen and this project's own aims say of each comparison."""

from __future__ import annotations

from typing import Final

from bench.shapes import EXITS, TIME, Shape, Term

AIM: Final = "pvkit"
ASPLOS: Final = "ASPLOS'06"
PVM: Final = "PVM, SOSP'23"
PVCLOCK: Final = "KVM, pvclock"
APICV: Final = "Intel, APICv"
NEXT_TO_NONE: Final = 0.01  # of a workload's exits, which those of set-up are among

ONE_HANDLER: Final = (
    "on an emulated processor a trap costs what it costs: an exit is a call of a C function, its handler one Python "
    "function, whatever the reason"
)
NO_INTERCEPT: Final = "on an emulated processor an exit is a call of a C function, and delivering an event is one too"
FAR_PORT: Final = f"a port goes on to another process in the study; {ONE_HANDLER}"
SET_UP: Final = "few operations were run, so that the exits of set-up weigh in"
CONTROL: Final = f"{SET_UP}, or a control has them exit"
TRANSLATED: Final = "the software monitor there rewrote the instruction and took no exit; trap takes one"
NO_NESTED: Final = (
    "the hardware there had no nested paging, so that page faults and writes of page tables exited; here they do not"
)
UNSYNC: Final = "trap lets a table be written freely until the guest invalidates"
TWO_DIMENSIONS: Final = "a miss of the TLB is walked through two sets of tables"
DROPPED: Final = "a load of CR3 drops the engine's translations, which come back by a walk through two sets of tables"
FEWEST: Final = "paravirt takes the fewest exits of the software techniques on I/O and paging"
IO_AND_PAGING: Final = (
    *("console", "clock", "timer", "idle", "self-event", "cpuid-msr", "disk"),
    *("address-space", "map", "fault"),
)


def fewer(claim: str, source: str, left: Term, right: Term | float, why: str) -> Shape:
    return Shape(claim, source, EXITS, left, "less", right, why)


def exactly(claim: str, source: str, left: Term, right: float, why: str) -> Shape:
    return Shape(claim, source, EXITS, left, "equal", right, why)


def quicker(claim: str, source: str, left: Term, right: Term, why: str) -> Shape:
    return Shape(claim, source, TIME, left, "less", right, why)


def no_slower(claim: str, source: str, left: Term, right: Term, why: str) -> Shape:
    return Shape(claim, source, TIME, left, "no more", right, why)


def beats_trap(what: str, workload: str, why: str) -> Shape:
    return quicker(f"hardware beats trap on {what}", AIM, Term(workload, "hardware"), Term(workload, "trap"), why)


def winner(row: str, technique: str, other: str, why: str) -> Shape:
    """A line of the study's table: which side was quicker."""
    side = {"trap": "software", "hardware": "hardware"}[technique]
    return quicker(f'{side} wins "{row}"', ASPLOS, Term(row, technique), Term(row, other), why)


WORKLOADS: Final = (
    *(
        Shape(FEWEST, AIM, EXITS, Term(name, "paravirt"), "no more", Term(name, "trap"), SET_UP)
        for name in IO_AND_PAGING
    ),
    fewer(
        "a batch of three calls is one exit", "Xen, multicall", Term("cpuid-msr", "paravirt", "VMCALL"), 1.01, SET_UP
    ),
    fewer("a ring under load needs next to no exit", "Xen, virtio", Term("disk", "paravirt"), 0.1, SET_UP),
    fewer("reading the shared clock takes no exit", PVCLOCK, Term("clock", "paravirt"), NEXT_TO_NONE, SET_UP),
    *(
        fewer("hardware takes no exit for page tables", AIM, Term(name, "hardware"), NEXT_TO_NONE, CONTROL)
        for name in ("map", "fault", "address-space")
    ),
    fewer(
        "a virtual interrupt controller saves exits",
        APICV,
        Term("self-event", "hardware-apicv"),
        Term("self-event", "hardware"),
        CONTROL,
    ),
    beats_trap("page tables", "map", NO_INTERCEPT),
    beats_trap("page tables", "fault", NO_INTERCEPT),
    beats_trap("page tables", "address-space", DROPPED),
    beats_trap("interrupt flags", "interrupt-flag", NO_INTERCEPT),
    no_slower(
        "hardware loses nothing on compute", AIM, Term("compute", "hardware"), Term("compute", "trap"), TWO_DIMENSIONS
    ),
)

NANO: Final = (
    winner("syscall", "hardware", "trap", NO_INTERCEPT),
    winner("in", "trap", "hardware", TRANSLATED),
    winner("cr8wr", "trap", "hardware", TRANSLATED),
    winner("call/ret", "hardware", "trap", "the software monitor there translated returns; trap runs them as they are"),
    winner("pgfault", "trap", "hardware", NO_NESTED),
    winner("divzero", "hardware", "trap", NO_INTERCEPT),
    winner("ptemod", "trap", "hardware", f"{NO_NESTED}, and {UNSYNC}"),
    winner("ptemod, used", "trap", "hardware", NO_NESTED),
    exactly(
        "shadow paging takes exactly 2 page-fault exits a first-touched page",
        PVM,
        Term("first touch", "trap", "EXCEPTION_NMI"),
        2.0,
        "a table was protected again between the touches",
    ),
    exactly("nested paging takes none", PVM, Term("first touch", "hardware"), 0.0, "a control has them exit"),
    exactly(
        "a working set in 8 spaces is filled once by shadow paging",
        "KVM, shadow MMU",
        Term("8 spaces", "trap", "EXCEPTION_NMI"),
        0.0,
        "a shadow was dropped while its tables were in use",
    ),
    exactly(
        "a switch of spaces takes no exit with nested paging",
        AIM,
        Term("8 spaces", "hardware"),
        0.0,
        "a control has it exit",
    ),
    exactly("reading the shared clock takes no exit", PVCLOCK, Term("rdtsc", "paravirt"), 0.0, "the page was not used"),
    exactly(
        "masking events by a shared byte takes no exit", "Xen", Term("cr8wr", "paravirt"), 0.0, "the byte was not used"
    ),
    fewer(
        "a virtual interrupt controller saves exits",
        APICV,
        Term("self_ipi", "hardware-apicv"),
        Term("self_ipi", "hardware"),
        "the APIC's page exits all the same",
    ),
    quicker("a hypercall costs less than a trap", PVM, Term("vmcall", "paravirt"), Term("cpuid", "trap"), ONE_HANDLER),
    quicker("a trap costs less than a port", PVM, Term("cpuid", "trap"), Term("inl_from_kernel", "trap"), FAR_PORT),
    quicker(
        "a trap costs less than a port", PVM, Term("cpuid", "hardware"), Term("inl_from_kernel", "hardware"), FAR_PORT
    ),
    quicker("CPUID costs less than an MSR", PVM, Term("cpuid", "hardware"), Term("rdmsr", "hardware"), ONE_HANDLER),
    no_slower(
        "hardware loses nothing on what does not exit",
        ASPLOS,
        Term("call/ret", "hardware"),
        Term("call/ret", "native"),
        "the engine looks blocks up by the mode that they were translated in",
    ),
    no_slower(
        "hardware loses nothing on what does not exit",
        ASPLOS,
        Term("syscall", "hardware"),
        Term("syscall", "native"),
        "the core looks for what waits whenever an event has been delivered; the engine alone does not",
    ),
)
