"""Each benchmark row exits as often as it says, and its guest ends well."""

from __future__ import annotations

import dataclasses

import pytest

from bench.compare import WORKLOADS
from bench.plugin import bench_machine
from bench.reference import REFERENCES
from bench.rows import ROWS, ExitRow
from pv.exits import StopWhy
from pv.outcome import Outcome

TURNS = 20


def run(row: ExitRow, turns: int) -> Outcome:
    with bench_machine(row.technique) as machine:
        machine.load(dataclasses.replace(row, turns=turns).build())
        return machine.run(timeout=20)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_turn_takes_the_exits_that_the_row_says(row: ExitRow) -> None:
    few, many = run(row, 1), run(row, 1 + TURNS)
    assert (few.why, few.status) == (many.why, many.status) == (StopWhy.EXITED, 0), many.summary
    assert many.exits.total - few.exits.total == TURNS * row.exits


def test_names_are_unique() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def test_every_reference_stands_beside_a_row() -> None:
    kinds = {row.kind for row in ROWS} | {f"workload {name}" for name in WORKLOADS}
    assert [reference.twin for reference in REFERENCES if reference.twin not in kinds] == []
