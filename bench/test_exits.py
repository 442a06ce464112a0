"""What one exit of each kind costs, beside its twin and beside the same exit on Unicorn's own binding."""

from __future__ import annotations

from typing import Any

import pytest

from bench.measure import measure_guest, measure_reference, per_operation
from bench.reference import REFERENCES, Reference
from bench.rows import ROWS, ExitRow

ENDING_EXITS = 8  # what setting up and ending a guest may take, beside its turns


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=per_operation(row.kind, row.turns * row.operations)) for row in ROWS]
)
def test_exit(benchmark: Any, row: ExitRow) -> None:
    outcome = measure_guest(benchmark, row.build(), technique=row.technique, operations=row.turns * row.operations)
    assert 0 <= outcome.exits.total - row.turns * row.exits <= ENDING_EXITS


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(row, id=row.twin.replace(" ", "-"), marks=per_operation(row.twin, row.iterations * row.operations))
        for row in REFERENCES
    ],
)
def test_binding(benchmark: Any, reference: Reference) -> None:
    measure_reference(benchmark, reference)
    assert benchmark.extra_info["operations"] == reference.iterations * reference.operations
