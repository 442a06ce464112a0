"""Whether cost grows as a straight line: ns of one operation in a short run, and in one of a hundred times the work.

What a guest spends before its first operation is taken off: a run of one operation measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.table import Table

from bench.compare import Run, find_workload, run_once

TIMES: Final = 100
LEAST_SECONDS: Final = 0.01  # of a short run, which does as many operations as that takes
FIRST_OPERATIONS: Final = 50
SHORT_RUNS: Final = 7
LONG_RUNS: Final = 2


@dataclass(frozen=True, slots=True)
class Growth:
    """ns of one operation where a run does `operations`, and where it does TIMES as many."""

    workload: str
    technique: str
    operations: int
    short_ns: float
    long_ns: float

    @property
    def ratio(self) -> float:
        """1 is a straight line; above it, cost grows faster than work."""
        return self.long_ns / self.short_ns


def measure_growth(workload: str, technique: str, run: Callable[[bytes, str], Run] = run_once) -> Growth:
    """Run `workload` short and long under `technique`. The least time of each counts: the rest is the host's noise."""
    build = find_workload(workload, technique).build

    def least(count: int, runs: int) -> float:
        image = build(count)
        return min(run(image, technique).seconds for _ in range(runs))

    start = least(1, SHORT_RUNS)
    operations = FIRST_OPERATIONS
    while least(operations, 1) - start < LEAST_SECONDS:
        operations *= 2
    short = (least(operations, SHORT_RUNS) - start) / (operations - 1)
    long = (least(operations * TIMES, LONG_RUNS) - start) / (operations * TIMES - 1)
    return Growth(workload, technique, operations, short * 1e9, long * 1e9)


def growth_table(rows: list[Growth]) -> Table:
    """The rows as the table that `pytest bench` closes with."""
    table = Table(title=f"{TIMES} times the work", caption="ratio: ns of one operation, long over short; 1 is a line")
    for heading in ("workload", "technique"):
        table.add_column(heading, no_wrap=True)
    for heading in ("operations", "ns, short", "ns, long", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = f"{row.operations:,}", f"{row.short_ns:,.1f}", f"{row.long_ns:,.1f}", f"{row.ratio:.2f}"
        table.add_row(row.workload, row.technique, *figures)
    return table


GROWN: Final[list[Growth]] = []  # what this run of pytest has measured, for its closing table
