"""How many exits, of what kind, and how long each took: the table in the manner of `perf kvm stat`.

Counts are exact. Times are host ns in the monitor, kept in log buckets of a quarter octave, so that a
percentile is right to one bucket (19 %) while minimum, maximum and mean are exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import Final

from pv.engines.base import Latency

BUCKETS_PER_OCTAVE: Final = 4

Kind = tuple[str, str]  # reason name, key text


@dataclass(frozen=True, slots=True)
class StatRow:
    """One line: times are host ns, and 0 where the run was not timed."""

    reason: str
    key: str
    samples: int
    samples_share: float
    time_share: float
    min_ns: int
    max_ns: int
    mean_ns: float
    p50_ns: float
    p99_ns: float

    @property
    def name(self) -> str:
        return f"{self.reason} {self.key}".strip()


def percentile(latency: Latency, percent: float) -> float:
    """The ns that `percent` of the exits did not pass, to within one bucket. 0.0 where there are none."""
    if not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent} is not between 0 and 100")
    counted = sum(latency.buckets)
    if not counted:
        return 0.0
    rank = max(1, ceil(counted * percent / 100))
    index = bisect_left(tuple(accumulate(latency.buckets)), rank)
    middle = 2.0 ** ((index + 0.5) / BUCKETS_PER_OCTAVE)
    return float(min(max(middle, latency.min_ns), latency.max_ns))


def merge(one: Latency, other: Latency) -> Latency:
    """Both counted together."""
    if not one.count or not other.count:
        return other if not one.count else one
    short, long = sorted((one.buckets, other.buckets), key=len)
    return Latency(
        count=one.count + other.count,
        total_ns=one.total_ns + other.total_ns,
        min_ns=min(one.min_ns, other.min_ns),
        max_ns=max(one.max_ns, other.max_ns),
        buckets=tuple(a + b for a, b in zip(long, short + (0,) * (len(long) - len(short)), strict=True)),
    )


def stat_rows(counts: Mapping[Kind, int], latencies: Mapping[Kind, Latency] | None = None) -> list[StatRow]:
    """One row a kind of exit, most time first, then most samples, then by name."""
    latencies = latencies or {}
    samples = sum(counts.values()) or 1
    total_ns = sum(latency.total_ns for latency in latencies.values()) or 1
    rows = [_row(kind, count, latencies.get(kind, UNTIMED), samples, total_ns) for kind, count in counts.items()]
    return sorted(rows, key=lambda row: (-row.time_share, -row.samples, row.name))


def by_reason(counts: Mapping[Kind, int]) -> dict[Kind, int]:
    """Counts with the keys of one reason summed."""
    summed: dict[Kind, int] = {}
    for (reason, _), count in counts.items():
        summed[reason, ""] = summed.get((reason, ""), 0) + count
    return summed


def latencies_by_reason(latencies: Mapping[Kind, Latency]) -> dict[Kind, Latency]:
    """Latencies with the keys of one reason merged."""
    merged: dict[Kind, Latency] = {}
    for (reason, _), latency in latencies.items():
        merged[reason, ""] = merge(merged.get((reason, ""), UNTIMED), latency)
    return merged


def format_table(rows: Iterable[StatRow], width: int | None = None) -> str:
    """The rows as text, times in us, with a footer of totals.

    width: the columns there are, None for no bound. Where not all fit, the times that say least are left out.
    """
    rows = list(rows)
    table = [("VM-EXIT", *COLUMNS), *((row.name, *_cells(row)) for row in rows)]
    wide = [max(len(cells[column]) for cells in table) for column in range(1 + len(COLUMNS))]
    shown = list(range(1 + len(COLUMNS)))
    for dropped in LEFT_OUT:
        if width is None or sum(wide[column] + len(GAP) for column in shown) - len(GAP) <= width:
            break
        shown.remove(1 + COLUMNS.index(dropped))
    lines = [GAP.join(f"{cells[column]:>{wide[column]}}" for column in shown) for cells in table]
    samples = sum(row.samples for row in rows)
    handled_us = sum(row.mean_ns * row.samples for row in rows) / 1000
    return "\n".join([*lines, "", f"Total Samples:{samples}, Total events handled time:{handled_us:.2f}us."])


UNTIMED: Final = Latency(0, 0, 0, 0, ())
COLUMNS: Final = ("Samples", "Samples%", "Time%", "Min Time", "Max Time", "Avg time", "p50", "p99")
LEFT_OUT: Final = ("Min Time", "p50", "Max Time", "p99")  # on a narrow terminal, in this order
GAP: Final = "  "


def _row(kind: Kind, count: int, latency: Latency, samples: int, total_ns: int) -> StatRow:
    return StatRow(
        reason=kind[0],
        key=kind[1],
        samples=count,
        samples_share=count / samples,
        time_share=latency.total_ns / total_ns,
        min_ns=latency.min_ns,
        max_ns=latency.max_ns,
        mean_ns=latency.total_ns / latency.count if latency.count else 0.0,
        p50_ns=percentile(latency, 50),
        p99_ns=percentile(latency, 99),
    )


def _cells(row: StatRow) -> tuple[str, ...]:
    times = (row.min_ns, row.max_ns, row.mean_ns, row.p50_ns, row.p99_ns)
    return (
        str(row.samples),
        f"{row.samples_share:.2%}",
        f"{row.time_share:.2%}",
        *(f"{time_ns / 1000:.2f}us" for time_ns in times),
    )
