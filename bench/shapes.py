"""Which shapes does the literature say costs have, and which do they have here? Rules, held to the figures of a run.

A shape compares two figures of the run that prints it. One that does not hold has its reason declared beside it;
nothing says beforehand whether it holds. A shape whose rows or techniques were not measured is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pv.report.comparison import NOISE, ComparisonRow
from pv.report.nano import NanoCell
from pv.report.shapes import Verdict

EXITS, TIME = "exits", "time"


@dataclass(frozen=True, slots=True)
class Figure:
    """One operation of one row under one technique. exits: by reason, of one operation."""

    exits: Mapping[str, float]
    ns: float

    def value(self, measure: str, reason: str | None) -> float:
        if measure == TIME:
            return self.ns
        return self.exits.get(reason, 0.0) if reason else sum(self.exits.values())


Figures = Mapping[tuple[str, str], Figure]  # by (row, technique)


@dataclass(frozen=True, slots=True)
class Term:
    """One side of a shape. reason: of exits, those of this reason alone."""

    row: str
    technique: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A claim: left RELATION right, where right is a Term or a number. why: what it comes from where it does not hold.

    relation: one of RELATIONS. Times are told apart where they differ by more than the noise; exits are exact.
    """

    claim: str
    source: str
    measure: str
    left: Term
    relation: str
    right: Term | float
    why: str

    def judge(self, figures: Figures) -> Verdict | None:
        """The verdict, None where a figure is missing."""
        left, right = self.value(figures, self.left), self.value(figures, self.right)
        if left is None or right is None:
            return None
        noise = NOISE if self.measure == TIME else 0.0
        holds = {
            "less": left < right * (1 - noise),
            "no more": left <= right * (1 + noise),
            "equal": left == right,
        }[self.relation]
        others = "" if not isinstance(self.right, Term) else f", {self.label(self.right, right)}"
        shown = f"{self.left.row}: {self.label(self.left, left)}{others}"
        return Verdict(self.claim, self.source, self.measure, shown, holds, "" if holds else self.why)

    def value(self, figures: Figures, term: Term | float) -> float | None:
        if not isinstance(term, Term):
            return term
        found = figures.get((term.row, term.technique))
        return None if found is None else found.value(self.measure, term.reason)

    def label(self, term: Term, value: float) -> str:
        row = "" if term.row == self.left.row else f"{term.row}: "
        return f"{row}{term.technique} {written(value)}{' ns' if self.measure == TIME else ''}"


def written(value: float) -> str:
    """Three digits or more; a whole number without a point."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


RELATIONS: Final = ("less", "no more", "equal")


def judge(shapes: Sequence[Shape], figures: Figures) -> list[Verdict]:
    """The verdicts of those shapes that were measured."""
    return [verdict for shape in shapes if (verdict := shape.judge(figures)) is not None]


def figures_of_workloads(rows: Sequence[ComparisonRow]) -> dict[tuple[str, str], Figure]:
    """By (workload, technique). Exits include those of set-up, as the table's do."""
    return {
        (row.workload, row.technique): Figure(
            {name: count / row.operations for name, count in row.exits_by_reason.items()}, row.ns_per_operation
        )
        for row in rows
    }


def figures_of_nano(cells: Sequence[NanoCell]) -> dict[tuple[str, str], Figure]:
    """By (row, technique), of the cells that have figures."""
    return {
        (cell.row, cell.technique): Figure(cell.exits_by_reason, cell.ns_per_operation)
        for cell in cells
        if cell.reason is None
    }
