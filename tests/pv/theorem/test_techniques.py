"""How each technique handles an instruction, by running it; and docs/holes.md lists exactly what trap leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from pv.theorem.cases import find_case
from pv.theorem.observe import Laboratory
from pv.theorem.survey import Survey
from pv.theorem.techniques import DONE, HALTED, STOPPED, Account, After, Handling, attempt, judge

HOLES = Path(__file__).parents[3] / "docs" / "holes.md"
UNDER_ANOTHER_NAME = {  # in docs/holes.md: here
    "MOV to SS of a null selector": "MOV to SS",
    "LSS to null": "LSS",
    "LSS of 64 bits, offset below 4 GiB": "LSS r64",
}
NOT_OF_TRAP = {  # rows of docs/holes.md that are no hole of the technique's, and why
    "CS in a trap frame": "no hole, it says itself: the monitor writes frames",
    "LFS of 64 bits, offset below 4 GiB": "the engine's, and alike at CPL 0",
    "RDRAND, which CPUID hides": "runs as at CPL 0: it is CPUID that says otherwise",
    "VEX prefixes, which CPUID hides": "run as at CPL 0: it is CPUID that says otherwise",
    "FNSTENV": "shows the selector of a CS that an x87 instruction ran with: the survey runs one instruction",
    "WAIT with CR0.TS set and CR0.MP clear": "of what CR0 does later, not of the instruction that sets it",
    "a breakpoint in DR0": "of what DR0 does later, not of the instruction that sets it",
    "SSE with CR4.OSFXSR clear": "of what CR4 does later, not of the instruction that sets it",
}


def listed() -> list[str]:
    table = HOLES.read_text(encoding="utf-8").split("<!-- seen by")[1].split("<!-- end -->")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[3:] if line.startswith("|")]


def test_the_holes_of_trap_are_those_that_the_page_lists(found: Survey) -> None:
    open_ = {row.name for row in found.rows if row.techniques["trap"].handling in (Handling.HOLE, Handling.HELD)}
    page = {UNDER_ANOTHER_NAME.get(name, name) for name in listed() if name not in NOT_OF_TRAP}
    assert open_ == page
    assert set(NOT_OF_TRAP) | set(UNDER_ANOTHER_NAME) <= set(listed())


def test_what_only_cpuid_hides_is_no_hole(found: Survey) -> None:
    for name in ("RDRAND", "VZEROUPPER"):
        assert found.row(name).techniques["trap"].handling is Handling.SAME


def test_a_hole_is_sensitive_and_not_privileged(found: Survey) -> None:
    breaking = set(found.theorem.breaking)
    for row in found.rows:
        if row.techniques["trap"].handling in (Handling.HOLE, Handling.HELD):
            assert row.name in breaking


def test_what_is_privileged_trap_emulates(found: Survey) -> None:
    other = {
        name: str(found.row(name).techniques["trap"].handling)
        for name in found.theorem.privileged
        if found.row(name).techniques["trap"].handling is not Handling.EMULATED
    }
    assert other == {
        "CLAC": "same", "STAC": "same", "MONITOR": "same", "MWAIT": "same",  # undefined on the machine's processor
        "XSETBV": "same",  # undefined: CR4.OSXSAVE is clear where a guest begins
        "SYSEXIT": "faults", "MOV from CR8": "own",
    }  # fmt: skip


def test_hardware_leaves_no_hole(found: Survey) -> None:
    by_handling: dict[str, set[str]] = {}
    for row in found.rows:
        by_handling.setdefault(str(row.techniques["hardware"].handling), set()).add(row.name)
    assert set(by_handling) == {"same", "emulated", "own", "guest", "faults"}
    assert by_handling["guest"] == {"SYSCALL", "MOV from CR8"}  # errata of the engine's, put right in guest mode
    assert by_handling["own"] == {"CPUID", "IN", "INS"}
    assert by_handling["faults"] == {"SYSENTER", "SYSEXIT", "RDPMC"}
    assert by_handling["emulated"] == {
        "HLT", "LMSW", "CLTS", "MOV to CR0", "MOV to CR4", "MOV to CR8", "MOV from DR0", "MOV to DR0", "INVD", "WBINVD",
        "OUT", "OUTS",
    }  # fmt: skip


def test_guest_mode_shows_the_guest_its_own(laboratory: Laboratory) -> None:
    """What trap emulates, hardware keeps without an exit: CR8 and SYSCALL are right where beneath they are not."""
    for name, trap_exits in (("MOV from CR8", {("CR_ACCESS", "CR8 read"): 1}), ("SYSCALL", {("SYSCALL", ""): 1})):
        trap, hardware = (attempt(laboratory, find_case(name), technique) for technique in ("trap", "hardware"))
        assert (trap.handling, trap.exits) == (Handling.OWN, trap_exits)
        assert (hardware.handling, hardware.exits) == (Handling.GUEST, {})
        assert hardware.differs == trap.differs


def test_what_is_privileged_a_paravirtual_guest_asks_for(found: Survey) -> None:
    handled = {name: str(found.row(name).techniques["paravirt"].handling) for name in found.theorem.privileged}
    undefined, told = {"CLAC", "STAC", "MONITOR", "MWAIT"}, {"RDTSC", "RDTSCP"}  # a clock is nobody's secret
    assert {name for name, handling in handled.items() if handling == "same"} == undefined
    assert {name for name, handling in handled.items() if handling == "emulated"} == told
    assert {handled[name] for name in handled if name not in undefined | told} == {"faults"}


@pytest.mark.parametrize(
    ("name", "technique", "handling", "differs", "exits"),
    [
        ("SGDT", "trap", Handling.HOLE, ("memory",), {}),
        ("POPF", "trap", Handling.HOLE, ("IF", "IOPL"), {}),
        ("CLI", "trap", Handling.EMULATED, (), {("INTERRUPT_FLAG", "CLI"): 1}),
        ("MOV to CR3", "trap", Handling.EMULATED, (), {("CR_ACCESS", "CR3 write"): 1}),
        ("IRET", "trap", Handling.EMULATED, (), {("IRET", ""): 1}),
        ("HLT", "trap", Handling.EMULATED, (), {("HLT", ""): 1}),
        ("MOV to SS", "trap", Handling.HELD, (), {}),
        ("CPUID", "trap", Handling.OWN, ("rcx", "rdx"), {("CPUID", "leaf 0x1"): 1}),
        ("ADD", "trap", Handling.SAME, (), {}),
        ("INT n", "trap", Handling.EMULATED, (), {("SOFTWARE_INTERRUPT", "INT 0x80"): 1}),
        ("SGDT", "hardware", Handling.SAME, (), {}),
        ("POPF", "hardware", Handling.SAME, (), {}),
        ("MOV to CR3", "hardware", Handling.SAME, (), {}),
        ("MOV to SS", "hardware", Handling.SAME, (), {}),
        ("CPUID", "hardware", Handling.OWN, ("rcx", "rdx"), {("CPUID", "leaf 0x1"): 1}),
        ("HLT", "hardware", Handling.EMULATED, (), {("HLT", ""): 1}),
        ("LGDT", "paravirt", Handling.FAULTS, ("gdtr.base",), {("EXCEPTION_NMI", "#GP"): 1}),
        ("MOV from CS", "paravirt", Handling.HOLE, ("rcx",), {}),
        ("VMCALL", "paravirt", Handling.OWN, ("rax",), {("VMCALL", "call 0x1111"): 1}),
        ("IN", "paravirt", Handling.STOPS, ("rax",), {("IO_INSTRUCTION", "port 0x80 read"): 1}),
    ],
)
def test_an_instruction_under_a_technique(
    laboratory: Laboratory,
    name: str,
    technique: str,
    handling: Handling,
    differs: tuple[str, ...],
    exits: dict[tuple[str, str], int],
) -> None:
    made = attempt(laboratory, find_case(name), technique)
    assert (made.handling, made.differs, made.exits) == (handling, differs, exits)


def test_a_guests_own_setting_is_tried_where_the_result_shows_it(laboratory: Laboratory) -> None:
    """With IF set the true flag is the guest's own; with IF clear PUSHF shows that it is not."""
    plain = attempt(laboratory, find_case("PUSHF"), "trap")
    assert (plain.handling, plain.setting) == (Handling.SAME, "as a monitor has it")
    shown = attempt(laboratory, find_case("PUSHF"), "trap", ("IF", "GDTR"))
    assert (shown.handling, shown.setting, shown.differs) == (Handling.HOLE, "IF", ("stack",))


def test_the_judgement_in_each_case() -> None:
    ran, faulted = After(DONE, {}), After(13, {}, fault=True)
    quiet, asked = Account(False, False, 1), Account(True, False, 1)
    assert judge(ran, ran, (), quiet) is Handling.SAME
    assert judge(ran, ran, (), asked) is Handling.EMULATED
    assert judge(ran, ran, ("rax",), asked) is Handling.OWN
    assert judge(ran, ran, ("rax",), quiet) is Handling.HOLE
    assert judge(ran, ran, ("rax",), Account(False, False, 0)) is Handling.GUEST
    assert judge(ran, ran, (), Account(False, True, 1)) is Handling.HELD
    assert judge(ran, faulted, (), asked) is Handling.FAULTS
    assert judge(faulted, faulted, (), asked) is Handling.SAME
    assert judge(faulted, ran, (), quiet) is Handling.HOLE
    assert judge(ran, After(STOPPED, {}), (), asked) is Handling.STOPS
    assert judge(After(HALTED, {}), ran, (), quiet) is Handling.HOLE
