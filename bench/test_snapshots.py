"""What snapshots, restores and forks take, and what a thousand forks hold; a copied machine stands beside them."""

from __future__ import annotations

from typing import Any

import pytest

from bench.compare import PACKAGES
from bench.snapshots import DIRTY_PAGES, FORKS, crowd, dirty, filled, first_exit, fork_and_exit
from pv.machine import Machine

ROUNDS = 300


@pytest.mark.benchmark(group="a snapshot of 8 MiB")
@pytest.mark.parametrize("technique", PACKAGES)
def test_snapshot(benchmark: Any, technique: str) -> None:
    def fresh() -> tuple[tuple[Machine], dict[str, Any]]:
        return (filled(technique),), {}

    snapshot = benchmark.pedantic(Machine.snapshot, setup=fresh, rounds=10, iterations=1)
    assert len(snapshot.memory.extents) >= 1


@pytest.mark.benchmark(group="a restore with 100 dirty pages")
@pytest.mark.parametrize("technique", PACKAGES)
def test_restore(benchmark: Any, technique: str) -> None:
    with filled(technique) as machine:
        snapshot = machine.snapshot()
        exits = machine.vcpu.exits
        benchmark.extra_info.update(technique=technique, dirty_pages=DIRTY_PAGES)
        benchmark.pedantic(
            machine.restore,
            args=(snapshot,),
            setup=lambda: dirty(machine),
            rounds=ROUNDS,
            iterations=1,
            warmup_rounds=10,
        )
        assert machine.vcpu.exits == exits


@pytest.mark.benchmark(group="a fork and its first exit")
@pytest.mark.parametrize("technique", PACKAGES)
def test_fork(benchmark: Any, technique: str) -> None:
    children: list[Machine] = []

    def clear() -> None:
        while children:
            children.pop().close()

    with filled(technique) as machine:
        snapshot = machine.snapshot()
        benchmark.extra_info.update(technique=technique)
        benchmark.pedantic(
            lambda: children.append(fork_and_exit(machine, snapshot)),
            setup=clear, rounds=ROUNDS, iterations=1, warmup_rounds=20,
        )  # fmt: skip
        clear()
        assert machine.outcome is not None


@pytest.mark.benchmark(group="a machine made, filled and run to the same exit")
@pytest.mark.parametrize("technique", PACKAGES)
def test_copy(benchmark: Any, technique: str) -> None:
    """What a fork stands beside: the same machine, made from its image."""

    def make() -> None:
        with filled(technique) as machine:
            first_exit(machine)

    benchmark.pedantic(make, rounds=30, iterations=1, warmup_rounds=3)
    assert benchmark.name


@pytest.mark.benchmark(group="a thousand forks")
@pytest.mark.parametrize("technique", PACKAGES)
def test_forks_share_memory(benchmark: Any, technique: str) -> None:
    weighed = benchmark.pedantic(crowd, args=(technique,), rounds=1, iterations=1)
    benchmark.extra_info.update(
        technique=technique, forks=FORKS, bytes_a_fork=weighed.fork_bytes, bytes_a_machine=weighed.whole_bytes
    )
    assert 0 < weighed.fork_bytes < weighed.whole_bytes
