"""The comparison's rows, as a table to read and as JSON to keep. Values only: what ran them is not known here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from pv.exits import StopWhy

BASELINE: Final = "trap"  # the technique that the others' time is divided by
REASONS_SHOWN: Final = 3
LEAST_SHARE: Final = 0.005  # what would round to 0 % is left out
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


def shares(counts: dict[str, int]) -> str:
    """The most frequent reasons with their share of all exits, such as "VMCALL 98%, HLT 2%"."""
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [(name, count / total) for name, count in ranked[:REASONS_SHOWN] if count >= LEAST_SHARE * total]
    return ", ".join(f"{name} {share:.0%}" for name, share in shown) or "-"


def comparison_table(rows: Sequence[ComparisonRow]) -> Table:
    """The table of `pvkit compare`: a block a workload, its techniques one under the other."""
    repeats = max((row.repeats for row in rows), default=1)
    table = Table(
        title="The same work under each technique",
        caption=f"time: host time of the run, median of {repeats}; ratio: time over that of {BASELINE}",
    )
    table.add_column("workload", no_wrap=True)
    table.add_column("technique", no_wrap=True)
    for heading in ("exits", "exits/op", "ns/op", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("exit reasons")
    table.add_column("result", no_wrap=True)
    previous = ""
    for row, ratio in zip(rows, ratios(rows), strict=True):
        if previous and row.workload != previous:
            table.add_section()
        table.add_row(
            row.workload if row.workload != previous else "",
            row.technique,
            f"{row.exits:,}",
            f"{row.exits_per_operation:.3g}",
            f"{row.ns_per_operation:,.0f}" if row.ns_per_operation >= 100 else f"{row.ns_per_operation:.3g}",
            "-" if ratio is None else f"{ratio:.2f}",
            shares(row.exits_by_reason),
            verdict(row),
        )
        previous = row.workload
    return table


def verdict(row: ComparisonRow) -> str:
    """How the row's result stands, in a word or two."""
    if row.ended != WELL:
        return f"[red]{row.ended}[/red]"
    return {True: "[green]agrees[/green]", False: "[red]differs[/red]", None: "-"}[row.agrees]
