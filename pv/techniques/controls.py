"""What exits under hardware virtualization? The control block: a row for each control, and what a person turns on.

AMD's virtual-machine control block (APM vol. 2, 15.9 and appendix B) is the processor's own here; beside each control
stands the name that Intel gives it (SDM vol. 3, 25.6). Defaults are what a monitor with nested paging needs: what would
reach the machine's own state, and what it must know of. Page tables, interrupt flag, descriptor tables, segments,
exceptions and system calls are the guest's own affair.

`--intercept cr3,rdtsc,pf` turns controls on, so that the count says what each costs. `-io:0x3f8-0x3ff` takes those
ports out of the I/O bitmap: the guest has them to itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

INSTRUCTION_FIRST: Final = 0x60  # exit codes from here on are bits of ControlBlock.instructions
ALL_PORTS: Final = range(0x10000)
PASSED_MSRS: Final = {  # those that a guest may have to itself: they change nothing but the guest
    0xC000_0081: "IA32_STAR", 0xC000_0082: "IA32_LSTAR", 0xC000_0083: "IA32_CSTAR", 0xC000_0084: "IA32_FMASK",
    0xC000_0100: "IA32_FS_BASE", 0xC000_0101: "IA32_GS_BASE", 0xC000_0102: "IA32_KERNEL_GS_BASE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ControlBlock:
    """What has a guest exit, as the fields of the APM's control area.

    instructions: bit n for exit code 0x60 + n. exceptions: bit n for vector n. cr_reads and so on: bit n for
    register n. msrs: which of PASSED_MSRS exit; all other MSRs always do. ports_passed: which ports do not; all others
    do. apic_virtual: the processor carries out accesses to the local APIC itself where it can (AMD's AVIC, Intel's
    APICv).
    """

    instructions: int = 0
    exceptions: int = 0
    cr_reads: int = 0
    cr_writes: int = 0
    dr_reads: int = 0
    dr_writes: int = 0
    msrs: frozenset[int] = frozenset()
    ports_passed: frozenset[int] = frozenset()
    apic_virtual: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """One control: `bits` of a field of the block. default: on unless said otherwise, because `why`."""

    name: str
    field: str
    bits: int
    intel: str
    default: bool = False
    why: str = ""


def _instruction(code: int) -> int:
    return 1 << code - INSTRUCTION_FIRST


EVERY: Final = 0xFFFF
CONTROLS: Final = (
    Control("cr0.read", "cr_reads", 1 << 0, "CR0 guest/host mask and read shadow"),
    Control("cr0.write", "cr_writes", 1 << 0, "CR0 guest/host mask", True, "caching and paging are the machine's"),
    Control("cr2.read", "cr_reads", 1 << 2, "none"),
    Control("cr2.write", "cr_writes", 1 << 2, "none"),
    Control("cr3.read", "cr_reads", 1 << 3, "CR3-store exiting"),
    Control("cr3.write", "cr_writes", 1 << 3, "CR3-load exiting"),
    Control("cr4.read", "cr_reads", 1 << 4, "CR4 guest/host mask and read shadow"),
    Control("cr4.write", "cr_writes", 1 << 4, "CR4 guest/host mask", True, "bits that CPUID hides must fault"),
    Control("cr8.read", "cr_reads", 1 << 8, "CR8-store exiting"),
    Control("cr8.write", "cr_writes", 1 << 8, "CR8-load exiting", True, "the local APIC is the monitor's"),
    Control("dr.read", "dr_reads", EVERY, "MOV-DR exiting", True, "breakpoints are the monitor's until they are used"),
    Control("dr.write", "dr_writes", EVERY, "MOV-DR exiting", True, "as reads"),
    Control("gdtr-idtr", "instructions", _instruction(0x6A) | _instruction(0x6B), "descriptor-table exiting"),
    Control("ldtr-tr", "instructions", _instruction(0x6C) | _instruction(0x6D), "descriptor-table exiting"),
    Control("rdtsc", "instructions", _instruction(0x6E), "RDTSC exiting"),
    Control("rdpmc", "instructions", _instruction(0x6F), "RDPMC exiting", True, "there is no counter"),
    Control("cpuid", "instructions", _instruction(0x72), "always", True, "the guest is told of the processor it has"),
    Control("invd", "instructions", _instruction(0x76), "always", True, "caches are the machine's"),
    Control("pause", "instructions", _instruction(0x77), "PAUSE exiting"),
    Control("hlt", "instructions", _instruction(0x78), "HLT exiting", True, "the processor may do other work"),
    Control("invlpg", "instructions", _instruction(0x79), "INVLPG exiting"),
    Control("vmcall", "instructions", _instruction(0x81), "always"),
    Control("wbinvd", "instructions", _instruction(0x89), "WBINVD exiting", True, "caches are the machine's"),
    *(
        Control(name, "exceptions", 1 << vector, "exception bitmap")
        for name, vector in {
            "de": 0, "db": 1, "ud": 6, "nm": 7, "df": 8, "ts": 10, "np": 11, "ss": 12, "gp": 13, "pf": 14, "mf": 16,
            "ac": 17, "xm": 19,
        }.items()
    ),
)  # fmt: skip
GROUPS: Final = {  # names that stand for several
    **{register: (f"{register}.read", f"{register}.write") for register in ("cr0", "cr2", "cr3", "cr4", "cr8", "dr")},
    "exceptions": tuple(control.name for control in CONTROLS if control.field == "exceptions"),
}
BY_NAME: Final = {control.name: control for control in CONTROLS}
MSR_BITMAP: Final = "msr"  # every MSR exits
IO_BITMAP: Final = "io"


def with_controls(block: ControlBlock, controls: Iterable[Control]) -> ControlBlock:
    """`block` with these turned on."""
    for control in controls:
        block = replace(block, **{control.field: getattr(block, control.field) | control.bits})
    return block


DEFAULT: Final = with_controls(ControlBlock(), (control for control in CONTROLS if control.default))
APIC_VIRTUALIZED: Final = replace(DEFAULT, cr_writes=DEFAULT.cr_writes & ~(1 << 8), apic_virtual=True)


def intercept(block: ControlBlock, text: str) -> ControlBlock:
    """`block` with the controls of `text` turned on, names with commas between them.

    Raises ValueError for a name that there is not, or a range of ports that cannot be.
    """
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        if word == MSR_BITMAP:
            block = replace(block, msrs=frozenset(PASSED_MSRS))
        elif word.startswith(f"-{IO_BITMAP}:"):
            ports = _ports(word)
            block = replace(block, ports_passed=block.ports_passed | frozenset(ports))
        elif word in BY_NAME or word in GROUPS:
            block = with_controls(block, (BY_NAME[name] for name in GROUPS.get(word, (word,))))
        elif word != IO_BITMAP:  # which is on: every port exits
            raise ValueError(f"intercept: {_no_such(word)}")
    return block


def _no_such(word: str) -> str:
    known = [*GROUPS, *BY_NAME, MSR_BITMAP, IO_BITMAP]
    close = get_close_matches(word, known, 1)
    meant = f"; {close[0]!r} is" if close else ""
    return f"{word!r} is no control{meant} (all: {', '.join(sorted(known))}; -io:FIRST-LAST passes ports through)"


def _ports(word: str) -> range:
    """The ports of `-io:FIRST-LAST` or `-io:PORT`. Raises ValueError."""
    first, _, last = word.removeprefix(f"-{IO_BITMAP}:").partition("-")
    try:
        ports = range(int(first, 0), int(last or first, 0) + 1)
    except ValueError:
        ports = range(0)
    if not ports or ports[0] not in ALL_PORTS or ports[-1] not in ALL_PORTS:
        raise ValueError(
            f"intercept: {word!r} is not -io:FIRST-LAST with ports from 0 to 0xffff, such as -io:0x3f8-0x3ff"
        )
    return ports
