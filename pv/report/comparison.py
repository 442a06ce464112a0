"""The comparison's rows, as a table to read and as JSON to keep. Values only: what ran them is not known here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pv.exits import StopWhy

BASELINE: Final = "trap"  # the technique that the others' time is divided by
REASONS_SHOWN: Final = 3
LEAST_SHARE: Final = 0.005  # what would round to 0 % is left out
NOISE: Final = 0.05  # of a ratio: nearer to 1 than this says nothing
WIDTH: Final = 132  # of the table, where no terminal says another
GAP: Final = 2
NUMBERS: Final = ("exits", "exits/op", "ns/op", "ratio")
LEFT_OUT: Final = ("exits/op", "ns/op", "exits")  # on a narrow terminal, in this order, after the exit reasons
WELL: Final = StopWhy.EXITED.value  # how a guest ends that did what it was to do


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One workload under one technique.

    operation: what one operation is. seconds: host time of the run, the median of `repeats`.
    result: the last line of the guest's console; ended: why the run returned, WELL when all is.
    agrees: whether every technique of this workload printed the same; None where there is nothing to compare with.
    """

    workload: str
    technique: str
    engine: str
    operation: str
    operations: int
    exits: int
    exits_by_reason: dict[str, int]
    seconds: float
    repeats: int
    result: str
    ended: str
    agrees: bool | None

    @property
    def ns_per_operation(self) -> float:
        return self.seconds * 1e9 / self.operations

    @property
    def exits_per_operation(self) -> float:
        return self.exits / self.operations


def as_json(rows: Iterable[ComparisonRow]) -> dict[str, Any]:
    """The document of `pvkit compare --json`: {"rows": [...]}, a row's fields by their names."""
    return {"rows": [dataclasses.asdict(row) for row in rows]}


def ratios(rows: Sequence[ComparisonRow]) -> list[float | None]:
    """Each row's time over that of its workload's BASELINE row; None where that did not run."""
    base = {row.workload: row.seconds for row in rows if row.technique == BASELINE}
    return [row.seconds / base[row.workload] if base.get(row.workload) else None for row in rows]


def shares(counts: dict[str, int], width: int | None = None) -> str:
    """The most frequent reasons with their share of all exits, such as "VMCALL 98%, HLT 2%".

    width: most characters, None for no bound; the first reason is given in any case.
    """
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{name} {count / total:.0%}" for name, count in ranked[:REASONS_SHOWN] if count >= LEAST_SHARE * total]
    while width is not None and len(shown) > 1 and len(", ".join(shown)) > width:
        shown.pop()
    return ", ".join(shown) or "-"


def comparison_table(rows: Sequence[ComparisonRow], width: int = WIDTH) -> Group:
    """The table of `pvkit compare`, `width` characters at most: a workload's techniques one under the other.

    Columns that do not fit are left out whole; first that of the results, where all are as they should be.
    """
    cells = columns(rows)
    reasons = max((len(shares(row.exits_by_reason, 0)) for row in rows), default=0)
    if taken(cells) + GAP + reasons > width and all(row.agrees is not False and row.ended == WELL for row in rows):
        del cells["result"]
    for heading in LEFT_OUT:
        if taken(cells) <= width:
            break
        del cells[heading]
    room = width - taken(cells) - GAP
    if room >= reasons:
        cells["exit reasons"] = [shares(row.exits_by_reason, room) for row in rows]
    compared = ratios(rows)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))  # the box adds one
    for heading in cells:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left", no_wrap=True)
    for index, row in enumerate(rows):
        styles = {
            "workload": "bold",
            "ratio": ratio_style(row, compared[index]),
            "result": "bold red" * (row.agrees is False or row.ended != WELL),
        }
        table.add_row(*(Text(texts[index], styles.get(heading, "")) for heading, texts in cells.items()))
    return Group(Text("The same work under each technique", "bold"), "", table, "", Text(footnote(rows), "dim"))


def footnote(rows: Sequence[ComparisonRow]) -> str:
    """What the columns mean, and whether all results agree."""
    repeats = max((row.repeats for row in rows), default=1)
    meaning = f"ns/op: host time, median of {repeats}; ratio: time over that of {BASELINE}"
    return meaning + ("; all results agree" if all(row.agrees and row.ended == WELL for row in rows) else "")


def columns(rows: Sequence[ComparisonRow]) -> dict[str, list[str]]:
    """The texts of each column by its heading, all but the exit reasons."""
    named = [row.workload if not at or row.workload != rows[at - 1].workload else "" for at, row in enumerate(rows)]
    return {
        "workload": named,
        "technique": [row.technique for row in rows],
        "exits": [f"{row.exits:,}" for row in rows],
        "exits/op": [f"{row.exits_per_operation:,.2f}" for row in rows],
        "ns/op": [f"{row.ns_per_operation:,.0f}" for row in rows],
        "ratio": ["-" if ratio is None else f"{ratio:.3f}" for ratio in ratios(rows)],
        "result": [verdict(row) for row in rows],
    }


def taken(cells: dict[str, list[str]]) -> int:
    """Characters that a line of these columns takes."""
    return sum(max(map(len, (heading, *texts))) for heading, texts in cells.items()) + GAP * (len(cells) - 1)


def ratio_style(row: ComparisonRow, ratio: float | None) -> str:
    """Green where the row is quicker than the baseline by more than the noise, red where it is slower."""
    if row.technique == BASELINE or ratio is None:
        return ""
    return "green" if ratio < 1 - NOISE else "red" if ratio > 1 + NOISE else ""


def verdict(row: ComparisonRow) -> str:
    """How the row's result stands, in a word or two."""
    return row.ended if row.ended != WELL else {True: "agrees", False: "differs", None: "-"}[row.agrees]
