from __future__ import annotations

from dataclasses import fields, replace
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.techniques.controls import (
    APIC_VIRTUALIZED,
    BY_NAME,
    CONTROLS,
    DEFAULT,
    GROUPS,
    PASSED_MSRS,
    ControlBlock,
    intercept,
)  # fmt: skip


def test_no_two_controls_are_one() -> None:
    assert len(BY_NAME) == len(CONTROLS)
    for field in {control.field for control in CONTROLS}:
        bits = [control.bits for control in CONTROLS if control.field == field]
        assert sum(bits) == reduce(int.__or__, bits)
    assert {control.field for control in CONTROLS} <= {field.name for field in fields(ControlBlock)}
    assert all(control.why for control in CONTROLS if control.default)


def test_the_default_leaves_the_guest_its_own_affairs() -> None:
    on = {control.name for control in CONTROLS if control.default}
    assert on == {
        "cr0.write", "cr4.write", "cr8.write", "dr.read", "dr.write", "rdpmc", "cpuid", "invd", "hlt", "wbinvd",
    }  # fmt: skip
    assert (DEFAULT.exceptions, DEFAULT.cr_reads, DEFAULT.msrs, DEFAULT.ports_passed) == (
        0,
        0,
        frozenset(),
        frozenset(),
    )
    assert APIC_VIRTUALIZED.apic_virtual
    assert DEFAULT.cr_writes ^ APIC_VIRTUALIZED.cr_writes == 1 << 8, "a virtual APIC takes CR8"


@given(st.lists(st.sampled_from([*BY_NAME, *GROUPS]), max_size=8))
def test_names_turn_on_just_what_they_name(names: list[str]) -> None:
    block = intercept(ControlBlock(), ",".join(names))
    singles = {single for name in names for single in GROUPS.get(name, (name,))}
    for control in CONTROLS:
        assert bool(getattr(block, control.field) & control.bits) is (control.name in singles)
    assert intercept(block, ",".join(names)) == block


def test_groups_msrs_and_ports() -> None:
    assert intercept(DEFAULT, " CR3 , pf") == replace(
        DEFAULT, cr_reads=8, cr_writes=DEFAULT.cr_writes | 8, exceptions=1 << 14
    )
    assert intercept(DEFAULT, "msr").msrs == frozenset(PASSED_MSRS)
    assert intercept(DEFAULT, "-io:0x3f8-0x3ff,-io:0x80").ports_passed == frozenset({*range(0x3F8, 0x400), 0x80})
    assert intercept(DEFAULT, "io,") == DEFAULT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cr33", "'cr33' is no control; 'cr3' is"),
        ("rdtscp", "'rdtscp' is no control; 'rdtsc' is"),
        ("-cpuid", "'-cpuid' is no control; 'cpuid' is"),
        ("-io:", "'-io:' is not -io:FIRST-LAST"),
        ("-io:0x10000", "ports from 0 to 0xffff"),
        ("-io:9-1", "not -io:FIRST-LAST"),
        ("-io:a-b", "not -io:FIRST-LAST"),
    ],
)
def test_what_a_person_gets_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        intercept(DEFAULT, text)


PAGE = Path(__file__).resolve().parents[3] / "docs" / "hardware.md"
MARK = "<!-- seen by tests/pv/techniques/test_controls.py -->\n"


def table() -> str:
    """The page's table: a row a control, the exceptions in one."""
    lines = ["| control | Intel's name | by default | because |", "| --- | --- | --- | --- |"]
    for control in CONTROLS:
        if control.field != "exceptions":
            lines.append(
                f"| `{control.name}` | {control.intel} | {'exits' if control.default else ''} | {control.why} |"
            )
    names = ", ".join(f"`{name}`" for name in GROUPS["exceptions"])
    return "\n".join([*lines, f"| {names} | exception bitmap | | |", "<!-- end -->\n"])


def test_the_page_has_every_control() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(MARK)[2].startswith(table()), f"write it as:\n{table()}"
