"""The comparison with a line a workload: exits and time of one operation under each technique, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group as Lines
from rich.text import Text

from pv.report.comparison import NOISE, WELL, ComparisonRow, comparison_table, verdict
from pv.report.grid import Cell, Group, grid, grid_width, short_count, short_time

TITLE: Final = "The same work under each technique: exits and host time of one operation"


def side_by_side(rows: Sequence[ComparisonRow], width: int) -> Lines:
    """The table, `width` characters at most; a terminal too narrow for it gets comparison_table's."""
    names = list(dict.fromkeys(row.workload for row in rows))
    techniques = list(dict.fromkeys(row.technique for row in rows))
    by_place = {(row.workload, row.technique): row for row in rows}
    quickest = {name: min(row.ns_per_operation for row in rows if row.workload == name) for name in names}
    for short in (False, True):
        groups = [
            Group(technique, ("exits", "time" if short else "ns"), [
                cells(by_place[name, technique], quickest[name], short=short) for name in names
            ])
            for technique in techniques
        ]  # fmt: skip
        if grid_width([*names, "workload"], groups) <= width:
            foot = Text(remark(rows), "dim")
            return Lines(Text(TITLE, "bold"), "", grid("workload", names, groups), "", foot)
    return comparison_table(rows, width)


def cells(row: ComparisonRow, quickest: float, *, short: bool) -> list[Cell]:
    """The two cells of a row: red where its result is not as it should be, the quickest of its workload green."""
    count = short_count(row.exits_per_operation) if short else f"{row.exits_per_operation:,.2f}"
    time = short_time(row.ns_per_operation) if short else f"{row.ns_per_operation:,.0f}"
    if row.ended != WELL or row.agrees is False:
        return [Cell(count, "bold red"), Cell(time, "bold red")]
    return [Cell(count), Cell(time, "green" if row.ns_per_operation <= quickest * (1 + NOISE) else "")]


def remark(rows: Sequence[ComparisonRow]) -> str:
    """What the figures are, and whether all results agree."""
    repeats = max((row.repeats for row in rows), default=1)
    wrong = [
        f"{row.workload} under {row.technique} {verdict(row)}"
        for row in rows
        if row.ended != WELL or row.agrees is False
    ]
    agreed = "; all results agree" if all(row.agrees and row.ended == WELL for row in rows) else ""
    return f"time: median of {repeats}, the quickest in green" + (f"; {', '.join(wrong)}" if wrong else agreed)


def markdown(rows: Sequence[ComparisonRow]) -> str:
    """The same as a Markdown table, which README's is made of."""
    techniques = list(dict.fromkeys(row.technique for row in rows))
    by_place = {(row.workload, row.technique): row for row in rows}
    heads = ["job", "one operation", *(part for name in techniques for part in (f"{name}: exits", "ns"))]
    lines = [heads, ["---"] * len(heads)]
    for name in dict.fromkeys(row.workload for row in rows):
        figures = [by_place[name, technique] for technique in techniques]
        pairs = [(f"{row.exits_per_operation:,.2f}", f"{row.ns_per_operation:,.0f}") for row in figures]
        lines.append([name, figures[0].operation, *(part for pair in pairs for part in pair)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
