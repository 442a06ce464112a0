"""A shape is judged by the run's own figures: exits exactly, times by more than the noise, none by what is missing."""

from __future__ import annotations

import dataclasses

import pytest

from bench.shapes import (
    EXITS,
    TIME,
    Figure,
    Shape,
    Term,
    figures_of_nano,
    figures_of_workloads,
    judge,
    written,
)  # fmt: skip
from pv.report.comparison import WELL, ComparisonRow
from pv.report.nano import NanoCell

FIGURES = {
    ("map", "paravirt"): Figure({"VMCALL": 2.0}, 1000.0),
    ("map", "trap"): Figure({"INVLPG": 1.0, "EXCEPTION_NMI": 1.5}, 1040.0),
}
SHAPE = Shape("claim", "source", EXITS, Term("map", "paravirt"), "less", Term("map", "trap"), "why not")


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"relation": "equal"}, False),
        ({"relation": "equal", "right": 2.0}, True),
        ({"relation": "no more", "right": 2.0}, True),
        ({"right": 2.0}, False),
        ({"right": Term("map", "trap", "EXCEPTION_NMI")}, False),
        ({"right": Term("map", "trap", "HLT")}, False),
        ({"measure": TIME}, False),  # 4 % is within the noise
        ({"measure": TIME, "relation": "no more"}, True),
        ({"measure": TIME, "left": Term("map", "trap"), "relation": "no more", "right": Term("map", "paravirt")}, True),
    ],
)
def test_a_relation_is_held_to_the_figures(change: dict[str, object], holds: bool) -> None:
    verdict = dataclasses.replace(SHAPE, **change).judge(FIGURES)  # type: ignore[arg-type]  # each is a field's own type
    assert verdict is not None
    assert verdict.holds is holds
    assert verdict.reason == ("" if holds else "why not")


def test_figures_are_shown_with_their_rows() -> None:
    assert [verdict.figures for verdict in judge([SHAPE], FIGURES)] == ["map: paravirt 2, trap 2.5"]
    to_number = dataclasses.replace(SHAPE, right=3.0)
    other_row = dataclasses.replace(SHAPE, measure=TIME, right=Term("x", "trap"))
    assert [v.figures for v in judge([to_number], FIGURES)] == ["map: paravirt 2"]
    assert [v.figures for v in judge([other_row], {**FIGURES, ("x", "trap"): Figure({}, 5e4)})] == [
        "map: paravirt 1,000 ns, x: trap 50,000 ns"
    ]


def test_what_was_not_measured_is_not_judged() -> None:
    assert judge([SHAPE], {("map", "trap"): FIGURES["map", "trap"]}) == []
    assert judge([dataclasses.replace(SHAPE, left=Term("nap", "trap"))], FIGURES) == []


def test_figures_are_those_of_one_operation() -> None:
    row = ComparisonRow("map", "trap", "unicorn", "map", 10, 40, {"INVLPG": 40}, 1e-5, 1, "result 7", WELL, True)
    assert figures_of_workloads([row]) == {("map", "trap"): Figure({"INVLPG": 4.0}, pytest.approx(1000.0))}
    cell = NanoCell("in", "s", "IN", "trap", operations=10, exits_by_reason={"IO_INSTRUCTION": 1.0}, seconds=1e-6)
    absent = NanoCell("in", "s", "IN", "paravirt", "no reason to")
    assert figures_of_nano([cell, absent]) == {("in", "trap"): Figure({"IO_INSTRUCTION": 1.0}, pytest.approx(100.0))}


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (2.0, "2"), (3.016, "3.02"), (96.27, "96.3"), (2144.7, "2,145")]
)
def test_a_figure_is_written_short(value: float, text: str) -> None:
    assert written(value) == text
