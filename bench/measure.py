"""How a row is timed: rounds of one guest run each, in fresh machines, under pytest-benchmark."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest

from bench.headline import REFERENCE, Measured
from bench.plugin import bench_machine
from bench.reference import Reference
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome

ROUNDS: Final = 5
WARMUP_ROUNDS: Final = 1
TIMEOUT_S: Final = 100.0


class FreshMachines:
    """Makes a machine before each round and closes it after, so that neither is in the time."""

    def __init__(self, image: bytes, technique: str) -> None:
        self.image = image
        self.technique = technique
        self.machine: Machine | None = None
        self.outcome: Outcome | None = None

    def prepare(self) -> tuple[tuple[Machine], dict[str, Any]]:
        """pytest-benchmark's setup: the arguments of one round."""
        self.close()
        self.machine = bench_machine(self.technique)
        self.machine.load(self.image)
        return (self.machine,), {}

    def run(self, machine: Machine) -> None:
        """One round."""
        self.outcome = machine.run(timeout=TIMEOUT_S)

    def close(self) -> None:
        if self.machine is not None:
            self.machine.close()
            self.machine = None


def per_operation(group: str, operations: int) -> pytest.MarkDecorator:
    """The mark of a row: its group, and a clock that runs in seconds an operation, so that twins compare as they are.

    A run of a million exits and one of ten thousand stand in one table: their times as such would say nothing.
    """

    def seconds_an_operation() -> float:
        return time.perf_counter() / operations

    return pytest.mark.benchmark(group=group, timer=seconds_an_operation)


def measure_guest(benchmark: Any, image: bytes, *, technique: str, operations: int) -> Outcome:
    """Time a guest that does `operations` and note its exits; the outcome of the last round."""
    machines = FreshMachines(image, technique)
    try:
        benchmark.pedantic(
            machines.run, setup=machines.prepare, rounds=ROUNDS, iterations=1, warmup_rounds=WARMUP_ROUNDS
        )
    finally:
        machines.close()
    outcome = machines.outcome
    assert outcome is not None
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    note(benchmark, technique, operations, outcome.exits.total)
    benchmark.extra_info["exits_by_reason"] = dict(outcome.exits)
    return outcome


def measure_reference(benchmark: Any, reference: Reference) -> None:
    """Time the same exit on Unicorn's binding."""
    run, turns = reference.make().run, reference.iterations
    benchmark.pedantic(run, args=(turns,), rounds=ROUNDS, iterations=1, warmup_rounds=WARMUP_ROUNDS)
    note(benchmark, REFERENCE, turns * reference.operations, turns * reference.exits)


def note(benchmark: Any, technique: str, operations: int, exits: int) -> None:
    """Put what the headline table needs beside the times, which are those of one operation."""
    benchmark.extra_info.update(technique=technique, operations=operations, exits=exits)
    if benchmark.stats is not None:  # None under --benchmark-disable
        ns = benchmark.stats.stats.median * 1e9
        MEASURED.append(Measured(benchmark.group, technique, exits / operations, ns))


MEASURED: Final[list[Measured]] = []  # what this run of pytest has measured, for its closing table
