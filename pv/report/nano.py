"""The nanobenchmarks' cells, as a table to read and as JSON to keep. Values only: what ran them is not known here."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group as Lines
from rich.text import Text

from pv.report.comparison import WELL, WIDTH
from pv.report.grid import Cell, Group, grid, grid_width, short_count, short_time

NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class NanoCell:
    """One row under one technique, or `native`. reason: why it is not measured; then there are no figures.

    exits_per_operation: exact, the difference of two runs over that of their operations. seconds: of the host, of
    `operations`. result, ended, agrees: as in ComparisonRow.
    """

    row: str
    study: str
    operation: str
    technique: str
    reason: str | None = None
    operations: int = 0
    exits_per_operation: float = 0.0
    exits_by_reason: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    repeats: int = 0
    result: str = ""
    ended: str = WELL
    agrees: bool | None = None

    @property
    def ns_per_operation(self) -> float:
        return self.seconds * 1e9 / self.operations if self.operations else 0.0


def nano_as_json(cells: Iterable[NanoCell]) -> list[dict[str, Any]]:
    """A cell's fields by their names."""
    return [dataclasses.asdict(cell) for cell in cells]


def nano_table(cells: Sequence[NanoCell], width: int = WIDTH) -> Lines:
    """A line a row, a group of columns a technique: exits and host ns of one operation. `width` characters at most."""
    names = list(dict.fromkeys(cell.row for cell in cells if cell.reason is None))
    columns = list(dict.fromkeys(cell.technique for cell in cells))
    by_place = {(cell.row, cell.technique): cell for cell in cells}
    variants = (  # the first that fits
        [group_of(column, names, by_place, short=False, exits=True) for column in columns],
        [group_of(column, names, by_place, short=True, exits=True) for column in columns],
        [group_of(column, names, by_place, short=True, exits=False) for column in columns],
    )
    groups = next((variant for variant in variants if grid_width(names, variant) <= width), variants[-1])
    studies = [by_place[name, columns[0]].study for name in names]
    breaks = [at for at in range(1, len(names)) if studies[at] != studies[at - 1]]
    repeats = max((cell.repeats for cell in cells), default=1)
    head = Text("One operation: exits, exact, and host time", "bold")
    foot = Text(f"median of {repeats}; native: the engine with the guest alone; {NOTHING}: not there, see below", "dim")
    return Lines(head, "", grid("operation", names, groups, breaks), "", foot, "", *absent(cells, width))


def group_of(
    column: str, names: Sequence[str], by_place: dict[tuple[str, str], NanoCell], *, short: bool, exits: bool
) -> Group:
    """The columns of one technique. A column that never exits has no count."""
    found = [by_place[name, column] for name in names]
    counted = exits and any(cell.exits_per_operation for cell in found)
    rows = []
    for cell in found:
        there = cell.reason is None
        count = short_count(cell.exits_per_operation) if there else ""
        time = (short_time(cell.ns_per_operation) if short else f"{cell.ns_per_operation:,.0f}") if there else NOTHING
        style = "" if cell.ended == WELL and cell.agrees is not False else "bold red"
        rows.append([*[Cell(count, style)] * counted, Cell(time, style)])
    return Group(column, [*["exits"] * counted, "time" if short else "ns"], rows)


def absent(cells: Sequence[NanoCell], width: int) -> list[Text]:
    """Why a row has no figure somewhere: a line for each reason and the columns that it holds for."""
    every = list(dict.fromkeys(cell.technique for cell in cells))
    missing: dict[str, dict[str, list[str]]] = {}
    for cell in cells:
        if cell.reason is not None:
            missing.setdefault(cell.row, {}).setdefault(cell.reason, []).append(cell.technique)
    alike: dict[tuple[str, str], list[str]] = {}
    for row, reasons in missing.items():
        for reason, found in reasons.items():
            alike.setdefault((places_of(found, every), reason), []).append(row)
    lines = [f"{NOTHING} {where}: {', '.join(rows)}: {reason}" for (where, reason), rows in alike.items()]
    return [Text("\n  ".join(textwrap.wrap(line, width - 2, break_on_hyphens=False)), "dim") for line in lines]


def places_of(found: Sequence[str], every: Sequence[str]) -> str:
    """The columns, or those that they are not."""
    if len(found) == len(every):
        return "nowhere"
    others = [column for column in every if column not in found]
    return f"all but {others[0]}" if len(others) == 1 and len(found) > 1 else ", ".join(found)


def nano_markdown(cells: Sequence[NanoCell]) -> str:
    """The table as Markdown: exits and ns in one column a technique."""
    columns = list(dict.fromkeys(cell.technique for cell in cells))
    by_place = {(cell.row, cell.technique): cell for cell in cells}
    lines = [["row", "one operation", *(f"{name}: {'ns' if name == columns[0] else 'exits, ns'}" for name in columns)]]
    lines.append(["---"] * len(lines[0]))
    for name in dict.fromkeys(cell.row for cell in cells if cell.reason is None):
        found = [by_place[name, column] for column in columns]
        lines.append([name, found[0].operation, *(markdown_cell(cell, cell.technique == columns[0]) for cell in found)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_cell(cell: NanoCell, native: bool) -> str:
    if cell.reason is not None:
        return NOTHING
    count = "" if native else f"{short_count(cell.exits_per_operation)}, "
    return f"{count}{cell.ns_per_operation:,.0f}"
