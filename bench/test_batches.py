"""What an operation costs alone, in multicalls and in rings of 1, 8, 64 and 512, and in a ring that is never kicked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.batches import BATCHES, Batch, batch_machine, disk_file, exits_of_a_turn
from bench.measure import ROUNDS, WARMUP_ROUNDS, per_operation
from pv.exits import StopWhy
from pv.machine import Machine


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    with disk_file() as file:
        yield file


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(row, id=row.name, marks=per_operation(f"batches: {row.operation}", row.operations))
        for row in BATCHES
    ],
)
def test_batch(benchmark: Any, batch: Batch, disk: Path) -> None:
    image = batch.build()
    machines: list[Machine] = []

    def prepare() -> tuple[tuple[Machine], dict[str, Any]]:
        close()
        machines.append(batch_machine(image, disk))
        return (machines[-1],), {}

    def close() -> None:
        while len(machines) > 1:
            machines.pop(0).close()

    benchmark.pedantic(
        lambda machine: machine.run(timeout=100),
        setup=prepare,
        rounds=ROUNDS,
        iterations=1,
        warmup_rounds=WARMUP_ROUNDS,
    )
    with machines[-1] as machine:
        outcome = machine.outcome
    assert outcome is not None
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    exits = exits_of_a_turn(batch, disk)
    assert exits == 1
    benchmark.extra_info.update(
        technique="paravirt",
        operations=batch.operations,
        exits=outcome.exits.total,
        exits_per_operation=exits / batch.size,
    )
