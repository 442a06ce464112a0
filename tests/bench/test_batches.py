"""Each row of the batches exits as often as it says, makes all its calls, and needs no kick where it is busy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import batches
from bench.batches import BATCHES, BLOCK_BYTES, OPERATIONS, SIZES, Batch, Priced, batch_machine, disk_file
from pv.exits import StopWhy
from pv.outcome import Outcome

TURNS = 20
CALLS = {"null call": "bench_null", "block read": "block_read"}


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    with disk_file() as file:
        yield file


def run(batch: Batch, turns: int, disk: Path) -> Outcome:
    with batch_machine(batch.build(turns), disk) as machine:
        outcome = machine.run(timeout=20)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    return outcome


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: batch.name)
def test_a_turn_is_one_exit_and_all_its_operations(batch: Batch, disk: Path) -> None:
    few, many = run(batch, 1, disk), run(batch, 1 + TURNS, disk)
    assert many.exits.total - few.exits.total == TURNS
    made = many.calls.get(CALLS[batch.operation], 0)
    unmade = batches.BUSY_ENTRIES if batch.form == "busy ring" else 0  # a guest may end before the last look
    assert batch.form == "own exits" or (1 + TURNS) * batch.size - unmade <= made <= (1 + TURNS) * batch.size


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_busy_ring_is_kicked_once_and_left_by_no_exit_but_the_guest_s_own(operation: str, disk: Path) -> None:
    busy, own = (run(Batch(operation, form, 1), 1000, disk) for form in ("busy ring", "own exits"))
    assert busy.by_key["VMCALL", "ring_kick"] == 1
    assert busy.by_key["VMCALL", "abi_version"] == own.by_key["VMCALL", "abi_version"] == 1000
    assert busy.exits.total - own.exits.total == 2  # ring_open and that kick
    assert busy.calls[CALLS[operation]] > 1000 - batches.BUSY_ENTRIES


def test_rows_are_those_of_the_issue() -> None:
    assert len({batch.name for batch in BATCHES}) == len(BATCHES)
    for form in ("multicall", "ring"):
        for operation in OPERATIONS:
            assert tuple(row.size for row in BATCHES if (row.form, row.operation) == (form, operation)) == SIZES


def test_price(disk: Path) -> None:
    priced = batches.price(Batch("block read", "ring", 512), disk, 1)
    assert (priced.exits, priced.exits_per_operation) == (1, 1 / 512)
    assert priced.gigabytes_per_second == BLOCK_BYTES / priced.ns > 0
    assert Priced(Batch("null call", "ring", 8), 10.0, 1).gigabytes_per_second is None
    assert Priced(Batch("block read", "own exits", 1), 10.0, 1).gigabytes_per_second is None


def test_a_guest_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    monkeypatch.setitem(batches.FORMS, "ring", lambda _size, _operation: ("jmp failed", "nop"))
    with pytest.raises(RuntimeError, match="failed: exited with status 1"):
        batches.run_batch(Batch("null call", "ring", 1).build(1), disk)
