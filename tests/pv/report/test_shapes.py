"""Shapes as lines: what holds, what does not and why, claims that are alike together."""

from __future__ import annotations

import json

from pv.report.shapes import Verdict, shape_lines, shapes_as_json, shapes_as_markdown

HELD = Verdict("a batch is one exit", "Xen", "exits", "cpuid-msr: paravirt 1", True, "")
ALIKE = Verdict("a batch is one exit", "Xen", "exits", "disk: paravirt 1", True, "")
FAILED = Verdict("software wins pgfault", "ASPLOS'06", "time", "pgfault: trap 9 ns, hardware 5 ns", False, "it exits")


def test_alike_verdicts_stand_together() -> None:
    lines = shape_lines([HELD, ALIKE, FAILED], 120).plain.splitlines()
    assert lines[0].endswith("2 of 3 hold")
    assert lines[1].split(maxsplit=1) == [
        "holds", "a batch is one exit (Xen): cpuid-msr: paravirt 1; disk: paravirt 1"
    ]  # fmt: skip
    assert lines[2].startswith("does not hold  software wins pgfault (ASPLOS'06): pgfault: trap 9 ns")
    assert lines[3].split() == ["since", "it", "exits"]


def test_lines_fit() -> None:
    for width in (120, 80, 60):
        assert max(map(len, shape_lines([HELD, FAILED] * 3, width).plain.splitlines())) <= width


def test_json_and_markdown_have_all() -> None:
    first, _ = json.loads(json.dumps(shapes_as_json([HELD, FAILED])))
    assert first == {
        "claim": "a batch is one exit", "source": "Xen", "measure": "exits", "figures": "cpuid-msr: paravirt 1",
        "holds": True, "reason": "",
    }  # fmt: skip
    assert shapes_as_markdown([HELD, FAILED]).splitlines()[2:] == [
        "| a batch is one exit | Xen | cpuid-msr: paravirt 1 | holds |",
        "| software wins pgfault | ASPLOS'06 | pgfault: trap 9 ns, hardware 5 ns | does not hold: it exits |",
    ]
