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
IN_CACHE: Final = (
    "the translator there emulated it inside its cache and took no exit; here it is one, with a handler in Python, "
    "and an exit of hardware costs no more"
)
LOOKED_UP: Final = "RET is a lookup by a callout here, a call of a C function; trap runs it as it is"
CACHE_ALONE: Final = "something of the critical section left the cache"
NO_NESTED: Final = (
    "the hardware there had no nested paging, so that page faults and writes of page tables exited; here they do not"
)
UNSYNC: Final = "a shadowed table may be written freely until the guest invalidates"
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
    """A line of the study's table: which side was quicker, its binary translator or the processor."""
    side = {"translate": "software", "hardware": "hardware"}[technique]
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
    fewer(
        "translation takes no exit for interrupt flags",
        ASPLOS,
        Term("interrupt-flag", "translate"),
        NEXT_TO_NONE,
        SET_UP,
    ),
    quicker(
        "translation beats trap on interrupt flags",
        ASPLOS,
        Term("interrupt-flag", "translate"),
        Term("interrupt-flag", "trap"),
        CACHE_ALONE,
    ),
    no_slower(
        "translation loses nothing on compute",
        ASPLOS,
        Term("compute", "translate"),
        Term("compute", "trap"),
        "a RET is a lookup, and blocks are translated once, by Python",
    ),
    no_slower(
        "hardware loses nothing on compute", AIM, Term("compute", "hardware"), Term("compute", "trap"), TWO_DIMENSIONS
    ),
)

NANO: Final = (
    winner("syscall", "hardware", "translate", NO_INTERCEPT),
    winner("in", "translate", "hardware", IN_CACHE),
    winner("cr8wr", "translate", "hardware", IN_CACHE),
    winner("call/ret", "hardware", "translate", LOOKED_UP),
    winner("pgfault", "translate", "hardware", NO_NESTED),
    winner("divzero", "hardware", "translate", NO_INTERCEPT),
    winner("ptemod", "translate", "hardware", f"{NO_NESTED}, and {UNSYNC}"),
    winner("ptemod, used", "translate", "hardware", NO_NESTED),
    quicker(
        "what runs as it is beats translation on returns",
        ASPLOS,
        Term("call/ret", "trap"),
        Term("call/ret", "translate"),
        LOOKED_UP,
    ),
    exactly(
        "a return in translation takes no exit", ASPLOS, Term("call/ret", "translate"), 0.0, "the core asked Python"
    ),
    fewer(
        "translation saves the exits of CLI and STI",
        ASPLOS,
        Term("self_ipi_sti_hlt", "translate"),
        Term("self_ipi_sti_hlt", "trap"),
        "the interrupt window was opened more than once",
    ),
    exactly(
        "shadow paging under translation takes as many",
        PVM,
        Term("first touch", "translate", "EXCEPTION_NMI"),
        2.0,
        "a table was protected again between the touches",
    ),
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
