"""Classes follow from observations by Popek and Goldberg's definitions: the classic instructions, exactly."""

from __future__ import annotations

import pytest

from pv.theorem.cases import find_case
from pv.theorem.classify import Class, Finding, classify, conclude
from pv.theorem.observe import LEVELS, Laboratory, Observation, Seen
from pv.theorem.settings import BASELINE, SETTINGS
from pv.theorem.survey import Survey

P, S, I, T, A = Class.PRIVILEGED, Class.SENSITIVE, Class.INNOCUOUS, Class.TRAP, Class.ABSENT  # noqa: E741 # columns
EXPECTED = {  # class, what it changes, what it shows, by level, at CPL 3 already
    "SGDT": (S, (), ("GDTR",), False, True),
    "SIDT": (S, (), ("IDTR",), False, True),
    "SLDT": (S, (), ("LDTR",), False, True),
    "STR": (S, (), ("TR",), False, True),
    "SMSW": (S, (), ("CR0",), False, True),
    "PUSHF": (S, (), ("IF", "IOPL"), False, True),
    "POPF": (S, ("IF", "IOPL"), (), True, False),
    "LAR": (S, (), ("GDT",), True, True),
    "LSL": (S, (), ("GDT",), True, True),
    "VERR": (S, (), ("GDT",), True, True),
    "VERW": (S, (), ("GDT",), True, True),
    "MOV from CS": (S, (), (), True, False),
    "MOV from SS": (S, (), (), True, False),
    "MOV to FS": (S, (), ("GDT",), False, True),
    "POP FS": (S, (), ("GDT",), False, True),
    "far CALL": (S, ("CPL",), (), True, True),
    "far JMP": (S, (), ("GDT",), False, True),
    "far RET": (S, ("CPL",), (), True, False),
    "IRET": (S, ("CPL", "IF", "IOPL"), (), True, False),
    "INT n": (T, (), (), False, False),
    "CPUID": (S, (), ("CR4", "processor"), False, True),
    "XGETBV": (S, (), ("XCR0",), False, True),
    "LGDT": (P, ("GDTR",), (), False, False),
    "LTR": (P, ("TR",), (), False, False),
    "LMSW": (P, ("CR0",), (), False, False),
    "CLTS": (P, ("CR0",), (), False, False),
    "HLT": (P, ("halt",), (), False, False),
    "CLI": (P, ("IF",), (), False, False),
    "STI": (P, ("IF",), (), False, False),
    "MOV from CR3": (P, (), ("CR3",), False, False),
    "MOV to CR3": (P, ("CR3", "TLB"), (), False, False),
    "RDMSR": (P, (), ("MSRs",), False, False),
    "WRMSR": (P, ("MSRs",), (), False, False),
    "SWAPGS": (P, ("MSRs",), ("MSRs",), False, False),
    "INVLPG": (P, ("TLB",), (), False, False),
    "WBINVD": (P, (), (), False, False),
    "RDTSC": (P, (), (), False, False),
    "MOV from DS": (I, (), (), False, False),
    "RDRAND": (I, (), (), False, False),
    "PAUSE": (I, (), (), False, False),
    "ADD": (I, (), (), False, False),
    "PUSH CS": (A, (), (), False, False),
}


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items(), ids=EXPECTED)
def test_the_class_of_a_classic_instruction(laboratory: Laboratory, name: str, expected: tuple[object, ...]) -> None:
    found = classify(laboratory.observe(find_case(name)))
    assert (found.kind, found.changes, found.depends_on, found.by_level, found.user_sensitive) == expected


def test_what_a_monitor_grants_is_told_apart(laboratory: Laboratory) -> None:
    granted = {name: classify(laboratory.observe(find_case(name))).runs_with for name in ("CLI", "STI", "RDTSC", "HLT")}
    assert granted == {"CLI": ("IOPL 3",), "STI": ("IOPL 3",), "RDTSC": ("TSD 0",), "HLT": ()}


def test_what_breaks_the_theorems(found: Survey) -> None:
    theorem = found.theorem
    assert not theorem.first_holds
    assert not theorem.third_holds
    assert theorem.breaking == (
        "SGDT", "SIDT", "SLDT", "STR", "LAR", "LSL", "VERR", "VERW", "MOV from CS", "MOV from SS",
        "MOV to FS", "MOV to SS", "POP FS", "LFS", "LSS", "LSS r64", "PUSHF", "POPF", "far CALL", "far JMP",
        "far RET", "IRET", "SMSW", "XGETBV", "CPUID", "IN", "OUT", "INS", "OUTS",
    )  # fmt: skip
    only_first = [name for name in theorem.breaking if name not in theorem.user_breaking]
    assert only_first == ["MOV from CS", "MOV from SS", "MOV to SS", "LSS", "LSS r64", "POPF", "far RET", "IRET"]
    assert (len(theorem.privileged), len(theorem.sensitive), len(theorem.breaking)) == (36, 56, 29)


def made_up(events: tuple[str, str, str], changes: str = "", visible: tuple[int, int, int] = (0, 0, 0)) -> Finding:
    """A finding from runs that no processor made: the same under every setting."""
    runs = {
        (level, setting.name): Seen(
            event, 0, {"rax": shown}, frozenset(changes.split()) if event == "runs" else frozenset()
        )
        for level, event, shown in zip(LEVELS, events, visible, strict=True)
        for setting in (BASELINE, *SETTINGS)
    }
    return classify(Observation(find_case("ADD"), "made up", runs))


def test_the_definitions_on_made_up_runs() -> None:
    assert made_up(("runs", "#GP", "#GP"), "CR9").kind is P
    assert made_up(("runs", "runs", "#GP"), "CR9").kind is S  # one level is enough
    assert made_up(("runs", "runs", "#GP")).kind is I
    assert made_up(("runs", "runs", "runs"), visible=(0, 0, 1)).kind is S
    assert made_up(("INT 0x80",) * 3).kind is T
    assert made_up(("#UD",) * 3).kind is A


def test_the_theorems_on_a_processor_that_holds() -> None:
    theorem = conclude([made_up(("runs", "#GP", "#GP"), "CR9"), made_up(("runs", "runs", "runs"))])
    assert theorem.first_holds
    assert theorem.third_holds
    assert (theorem.privileged, theorem.sensitive) == (("ADD",), ("ADD",))


def test_a_return_to_user_mode_breaks_the_first_alone() -> None:
    """The JRST 1 of the PDP-10: sensitive in the kernel, harmless at CPL 3."""
    theorem = conclude([made_up(("runs", "runs", "runs"), visible=(0, 1, 1))])
    assert not theorem.first_holds
    assert theorem.third_holds
