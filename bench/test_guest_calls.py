"""What it costs the host to call a function of the guest."""

from __future__ import annotations

from typing import Any

import pytest

from bench.guest_calls import ROWS, CallRow, call_many
from bench.measure import ROUNDS, WARMUP_ROUNDS, note, per_operation

TURNS = 100_000
ENDING_CALLS = 2  # the one to the handler, and exit


@pytest.mark.parametrize("row", [pytest.param(row, id=row.kind, marks=per_operation(row.kind, TURNS)) for row in ROWS])
def test_guest_call(benchmark: Any, row: CallRow) -> None:
    _, calls = benchmark.pedantic(
        call_many, args=(row, TURNS), rounds=ROUNDS, iterations=1, warmup_rounds=WARMUP_ROUNDS
    )
    assert calls == TURNS + ENDING_CALLS
    note(benchmark, "paravirt", TURNS, calls)
