"""Rows hold what was run; what the manual says changes nothing in them."""

from __future__ import annotations

import dataclasses

import pytest

from pv.theorem import manual
from pv.theorem.cases import CASES, NAMES, find_case
from pv.theorem.classify import Class
from pv.theorem.survey import DEFAULT_TECHNIQUES, Evidence, Survey, survey


def test_every_case_is_a_row(found: Survey) -> None:
    assert tuple(row.name for row in found.rows) == NAMES
    assert [row.code for row in found.rows] == [case.code.hex() for case in CASES]
    assert all(tuple(row.techniques) == DEFAULT_TECHNIQUES for row in found.rows)


def test_nothing_is_answered_from_the_manual(found: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manual that is wrong about everything changes the columns of the manual alone."""
    for name in NAMES:
        monkeypatch.setitem(
            manual.MANUAL, name, manual.Manual(name, ("#DF", "#DF", "#DF"), Class.TRAP, "nowhere", ("CR9",))
        )
    cases = [find_case(name) for name in ("SGDT", "POPF", "CLI", "IN", "ADD", "INT n", "PUSH CS")]
    misled = survey(cases, ("trap",))
    left_out = {"manual", "errata", "lacks", "without_umip", "techniques"}
    for row in misled.rows:
        honest, wrong = dataclasses.asdict(found.row(row.name)), dataclasses.asdict(row)
        assert {key: wrong[key] for key in wrong if key not in left_out} == {
            key: honest[key] for key in honest if key not in left_out
        }
        assert wrong["techniques"]["trap"] == honest["techniques"]["trap"]


def test_evidence_is_what_was_seen(found: Survey) -> None:
    assert Evidence(3, "CPL 0", "rcx", "0x33", "0x8") in found.row("MOV from CS").evidence
    assert Evidence(1, "other IF", "stack", "+0x7f8: 0x202", "0x2") in found.row("PUSHF").evidence
    assert Evidence(3, "CPL 0", "changes", "nothing", "IF IOPL") in found.row("POPF").evidence
    assert Evidence(0, "other GDTR", "memory", "+0x0: 0x20000077", "0x2800007f") in found.row("SGDT").evidence
    assert found.row("ADD").evidence == ()


def test_two_surveys_agree(found: Survey) -> None:
    again = survey()
    timed = {"RDTSC", "RDTSCP", "RDRAND"}  # their evidence is time or chance
    for row, other in zip(found.rows, again.rows, strict=True):
        if row.name not in timed:
            assert row == other
    assert found.theorem == again.theorem
