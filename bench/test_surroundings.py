"""What the same run costs with its exits timed, and beside a busy Python thread, which may take half of it at most."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import pytest

from bench.measure import ROUNDS, per_operation
from bench.plugin import MEMORY, PLUGIN
from bench.rows import ROWS
from pv.exits import StopWhy
from pv.machine import Machine


@contextmanager
def busy_thread() -> Iterator[None]:
    """Python code that runs beside the guest and never waits."""
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            sum(range(1000))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        end.set()
        worker.join()


SURROUNDINGS: Final[dict[str, tuple[bool, Callable[[], AbstractContextManager[None]]]]] = {
    "alone": (False, nullcontext),
    "timed": (True, nullcontext),
    "beside a busy thread": (False, busy_thread),
}
ROW_BY_KIND: Final = {row.kind: row for row in ROWS if row.technique == "paravirt"}


@pytest.mark.parametrize(
    ("kind", "surrounding"),
    [
        pytest.param(kind, name, marks=per_operation(f"{kind}, surroundings", ROW_BY_KIND[kind].turns))
        for kind in ("hypercall", "compute")
        for name in SURROUNDINGS
    ],
)
def test_surroundings(benchmark: Any, kind: str, surrounding: str) -> None:
    timed, beside = SURROUNDINGS[surrounding]
    image = ROW_BY_KIND[kind].build()
    machines: list[Machine] = []

    def prepare() -> tuple[tuple[Machine], dict[str, Any]]:
        machines.append(Machine(memory=MEMORY, hypercalls=[PLUGIN], time_exits=timed))
        machines[-1].load(image)
        return (machines[-1],), {}

    with beside():
        benchmark.pedantic(lambda machine: machine.run(timeout=100), setup=prepare, rounds=ROUNDS, iterations=1)
    ended = [machine.outcome for machine in machines]
    assert all(outcome is not None and outcome.why is StopWhy.EXITED for outcome in ended)
    assert {bool(outcome and outcome.latencies) for outcome in ended} == {timed}
    benchmark.extra_info.update(technique="paravirt", exits=machines[-1].vcpu.exits)
