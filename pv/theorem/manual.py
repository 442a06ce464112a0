"""What do the manuals say that each instruction does here? Declared, to be held against what was seen: never an answer.

A row: what happens at CPL 0, 1 and 3 in the state of pv.theorem.cases as a monitor has the machine (IOPL 0, CR4.TSD
set, CR4.PCE clear, gates of DPL 0), the class that follows, the resources that the result shows, and where it is
written. "runs CPL IF" is: no trap, and CPL and IF change. Sources: Intel SDM (v2 by instruction, v3 by section), AMD
APM v2, and Robin and Irvine 2000 (R&I). UMIP: #GP at CPL 1 and 3 where CR4.UMIP is set (SDM v3, 2.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pv.theorem.classify import Class, Finding
from pv.theorem.observe import LEVELS, Seen
from pv.theorem.settings import BASELINE, SETTINGS

UMIP_1: Final = next(setting for setting in SETTINGS if setting.name == "UMIP 1")
FAULTS: Final = ("#GP", "#GP")
RUNS: Final = ("runs", "runs", "runs")
UNDEFINED: Final = ("#UD", "#UD", "#UD")
BEFORE_GATE: Final = "hooks have it before the gate's DPL is looked at"
RIP_ONLY: Final = "the engine moves RIP and leaves the rest to a monitor"
NO_IOPL: Final = "neither IOPL nor the I/O bitmap is looked at"
NO_APIC: Final = "it reads the TPR of an APIC that the engine does not have"
NULL_SS: Final = "a null SS leads to CPL 0"


@dataclass(frozen=True, slots=True)
class Manual:
    """One instruction, by the book. levels: at CPL 0, 1 and 3. umip: whether CR4.UMIP makes it trap.

    why: what is known of an engine that does otherwise.
    """

    name: str
    levels: tuple[str, str, str]
    kind: Class
    source: str
    shows: tuple[str, ...] = ()
    umip: bool = False
    why: str = ""


def privileged(source: str, why: str = "", /, **rows: str) -> list[Manual]:
    """Rows of what runs at CPL 0 alone: NAME="what it changes", _ for a space in names."""
    return [
        Manual(name.replace("_", " "), (says(changes), *FAULTS), Class.PRIVILEGED, source, why=why)
        for name, changes in rows.items()
    ]


def says(changes: str) -> str:
    """How "runs" reads with what it changes."""
    return f"runs {changes}".strip()


def shown(source: str, umip: bool = False, **rows: str) -> list[Manual]:
    """Rows of what runs at every level and shows a resource: NAME="RESOURCE"."""
    return [
        Manual(name.replace("_", " "), RUNS, Class.SENSITIVE, source, tuple(resources.split()), umip)
        for name, resources in rows.items()
    ]


def undefined(source: str, *names: str) -> list[Manual]:
    """Rows of what is #UD at every level as the machine stands."""
    return [Manual(name, UNDEFINED, Class.ABSENT, source) for name in names]


def harmless(source: str, *names: str) -> list[Manual]:
    """Rows of what runs alike everywhere."""
    return [Manual(name, RUNS, Class.INNOCUOUS, source) for name in names]


ROWS: Final = (
    *shown("R&I; v3 2.5", umip=True, SGDT="GDTR", SIDT="IDTR", SLDT="LDTR", STR="TR", SMSW="CR0"),
    *shown("R&I", LAR="GDT", LSL="GDT", VERR="GDT", VERW="GDT", MOV_to_FS="GDT", POP_FS="GDT", PUSHF="IF"),
    *shown("R&I; v3 5.8.1", far_JMP="GDT"),
    *shown("v2 LFS", LFS="GDT"),
    *shown("v2 XGETBV", XGETBV="XCR0"),
    *shown("v2 CPUID", CPUID="CR4 processor"),
    Manual("MOV from CS", RUNS, Class.SENSITIVE, "R&I"),
    Manual("MOV from SS", RUNS, Class.SENSITIVE, "R&I"),
    *harmless("v3 3.4.2", "MOV from DS", "PUSH FS"),
    *harmless("v3 3.2.4", "MOV to DS"),
    *harmless("v2", "PAUSE", "CLFLUSH", "RDRAND", "ADD"),
    *harmless("v2 RDFSBASE", "RDFSBASE", "WRFSBASE"),
    Manual("POPF", ("runs IF IOPL", "runs", "runs"), Class.SENSITIVE, "R&I; v2 POPF"),
    Manual("far CALL", ("runs", "runs CPL", "runs CPL"), Class.SENSITIVE, "R&I; v3 5.8"),
    Manual("far RET", ("runs CPL", "runs CPL", "runs"), Class.SENSITIVE, "R&I; v3 5.8"),
    Manual("IRET", ("runs CPL IF", "runs CPL", "runs"), Class.SENSITIVE, "v2 IRET"),
    Manual("INT n", ("INT 0x80", *FAULTS), Class.TRAP, "R&I; v3 6.12", why=BEFORE_GATE),
    Manual("INT3", ("INT 0x3", *FAULTS), Class.TRAP, "v3 6.12", why=BEFORE_GATE),
    Manual("SYSCALL", ("runs", "runs CPL", "runs CPL"), Class.TRAP, "v2 SYSCALL", why=RIP_ONLY),
    Manual("SYSENTER", ("runs IF", "runs CPL IF", "runs CPL IF"), Class.TRAP, "v2 SYSENTER", why=RIP_ONLY),
    *privileged("v2 SYSRET", SYSRET="CPL IF"),
    *privileged("v2 SYSEXIT", SYSEXIT="CPL"),
    *privileged(
        "v3 5.9", LGDT="GDTR", LIDT="IDTR", LLDT="LDTR", LTR="TR", LMSW="CR0", CLTS="CR0", MOV_to_CR0="CR0",
        MOV_to_CR2="CR2", MOV_to_CR3="CR3 TLB", MOV_to_CR4="CR4 TLB", MOV_to_CR8="CR8", MOV_to_DR0="DR0", WRMSR="MSRs",
        INVLPG="TLB", INVD="", WBINVD="", RDTSC="", RDTSCP="", RDPMC="",
    ),
    Manual("HLT", ("halts", *FAULTS), Class.PRIVILEGED, "v3 5.9"),
    *(
        Manual(f"MOV from {name}", ("runs", *FAULTS), Class.PRIVILEGED, "v3 5.9", (name,))
        for name in ("CR0", "CR2", "CR3", "CR4", "DR0")
    ),
    Manual("MOV from CR8", ("runs", *FAULTS), Class.PRIVILEGED, "v3 5.9", ("CR8",), why=NO_APIC),
    Manual("RDMSR", ("runs", *FAULTS), Class.PRIVILEGED, "v3 5.9", ("MSRs",)),
    *privileged("v2 SWAPGS", SWAPGS="MSRs"),
    *privileged("v2 XSETBV", XSETBV="XCR0"),
    *privileged("v2 INVPCID", INVPCID="TLB"),
    *privileged("v2 CLI", CLI="IF", STI="IF"),
    *privileged("v1 19.5.1", NO_IOPL, IN="ports", OUT="ports", INS="ports", OUTS="ports"),
    *privileged("v2 MOV", NULL_SS, MOV_to_SS=""),
    *privileged("v2 LSS", NULL_SS, LSS="", LSS_r64=""),
    *(
        Manual(name, ("runs", "#UD", "#UD"), Class.PRIVILEGED, f"v2 {name}")
        for name in ("CLAC", "STAC", "MONITOR", "MWAIT")
    ),
    *undefined("v2 PUSH", "PUSH CS"),
    Manual("VZEROUPPER", UNDEFINED, Class.ABSENT, "v2 VZEROUPPER", why="VEX prefixes decode whatever XCR0 says"),
    *undefined("v3 VMX", "VMCALL", "VMLAUNCH"),
    *undefined("v2 RSM", "RSM"),
    *undefined("APM 15.9", "VMMCALL"),
    *undefined("APM 15.4", "VMRUN", "VMLOAD", "VMSAVE", "STGI", "CLGI"),
)  # fmt: skip

MANUAL: Final = {row.name: row for row in ROWS}


def erratum(finding: Finding) -> tuple[str, ...]:
    """Where the processor that ran is not the manuals', a line each; none where it does not have the instruction."""
    book = MANUAL[finding.name]
    return tuple(lines(finding, book)) if not lacks(finding) else ()


def lacks(finding: Finding) -> bool:
    """Whether the processor does not have an instruction that the manuals do."""
    return finding.kind is Class.ABSENT and MANUAL[finding.name].kind is not Class.ABSENT


def without_umip(finding: Finding) -> bool:
    """Whether CR4.UMIP ought to make it trap, and does not: the processor has no UMIP."""
    return MANUAL[finding.name].umip and any(finding.observation.at(level, UMIP_1).ran for level in LEVELS if level)


def lines(finding: Finding, book: Manual) -> Iterator[str]:
    """What differs: levels that do the same together, resources that do not show, and a class that does not follow."""
    by_text: dict[str, list[str]] = {}
    for level, expected in zip(LEVELS, book.levels, strict=True):
        seen = described(finding.observation.at(level, BASELINE))
        if seen != described_as(expected):
            by_text.setdefault(f"{in_words(seen)}, where the manual has {expected}", []).append(str(level))
    for text, levels in by_text.items():
        yield f"at CPL {' and '.join(filter(None, (', '.join(levels[:-1]), levels[-1])))} {text}"
    for resource in book.shows:
        if resource not in finding.depends_on:
            yield f"does not show {resource}"
    if finding.kind is not book.kind and not by_text:
        yield f"is seen as {finding.kind}, where the manual has {book.kind}"


def described(seen: Seen) -> tuple[str, frozenset[str]]:
    """An event, and what changed with it; that a processor halts is said by the event."""
    return seen.event, seen.changed - {"halt"} if seen.ran else frozenset()


def described_as(text: str) -> tuple[str, frozenset[str]]:
    """The same, from "runs CPL IF"."""
    if not text.startswith("runs"):
        return text, frozenset()
    return "runs", frozenset(text.split()[1:])


def in_words(seen: tuple[str, frozenset[str]]) -> str:
    """The text that described_as() reads."""
    return " ".join((seen[0], *sorted(seen[1])))
