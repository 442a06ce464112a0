"""The table that closes `pytest bench`: ns of one operation, and how many times faster than Unicorn's own binding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rich.table import Table

REFERENCE: Final = "binding"  # the technique under which a reference row stands


@dataclass(frozen=True, slots=True)
class Measured:
    """One row's median. group: the twins that stand together."""

    group: str
    technique: str
    exits_per_operation: float
    ns_per_operation: float


def headline(rows: Iterable[Measured]) -> Table:
    """The rows by group, in the order in which the groups first come; the reference last in each."""
    groups: dict[str, list[Measured]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    table = Table(title="One operation, median", caption=f"ratio: time on Unicorn's Python {REFERENCE} over this time")
    table.add_column("operation", no_wrap=True)
    table.add_column("technique", no_wrap=True)
    for heading in ("exits", "ns", f"{REFERENCE} / this"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group, members in groups.items():
        base = next((row.ns_per_operation for row in members if row.technique == REFERENCE), None)
        for row in sorted(members, key=lambda row: row.technique == REFERENCE):
            table.add_row(
                group,
                row.technique,
                f"{row.exits_per_operation:.3g}",
                f"{row.ns_per_operation:,.1f}",
                "-" if base is None or row.technique == REFERENCE else f"{base / row.ns_per_operation:.3g}",
            )
        table.add_section()
    return table
