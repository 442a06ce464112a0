"""Measuring makes a fresh machine a round, notes exits beside the time, and refuses a guest that failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import bench.measure as measure
from bench.reference import Reference
from pv.exits import StopWhy
from pv.outcome import ExitCounts


class FakeBenchmark:
    """Runs a pedantic target twice and says that an operation took 50 ns."""

    def __init__(self) -> None:
        self.group = ""
        self.extra_info: dict[str, Any] = {}
        self.stats: Any = SimpleNamespace(stats=SimpleNamespace(median=50e-9))

    def pedantic(self, target: Any, args: tuple[Any, ...] = (), setup: Any = None, **_options: Any) -> None:
        for _ in range(2):
            arguments = setup()[0] if setup else args
            target(*arguments)


class FakeMachine:
    """Ends with `status`; counts how many are open."""

    open = 0
    status = 0

    def __init__(self, _technique: str) -> None:
        FakeMachine.open += 1

    def load(self, image: bytes) -> None:
        self.image = image

    def run(self, timeout: float) -> Any:
        assert timeout > 0
        return SimpleNamespace(why=StopWhy.EXITED, status=self.status, exits=ExitCounts(VMCALL=40), summary="failed")

    def close(self) -> None:
        FakeMachine.open -= 1


@pytest.fixture(autouse=True)
def _fake_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "bench_machine", FakeMachine)
    monkeypatch.setattr(measure, "MEASURED", [])
    monkeypatch.setattr(FakeMachine, "open", 0)
    monkeypatch.setattr(FakeMachine, "status", 0)


def test_exits_stand_beside_the_time() -> None:
    benchmark = FakeBenchmark()
    measure.measure_guest(benchmark, b"guest", technique="trap", operations=20)
    assert benchmark.extra_info["exits"] == 40
    assert benchmark.extra_info["exits_by_reason"] == {"VMCALL": 40}
    (row,) = measure.MEASURED
    assert (row.technique, row.exits_per_operation, row.ns_per_operation) == ("trap", 2.0, 50.0)


def test_every_machine_is_closed() -> None:
    measure.measure_guest(FakeBenchmark(), b"guest", technique="trap", operations=20)
    assert FakeMachine.open == 0


def test_a_guest_that_failed_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeMachine, "status", 1)
    with pytest.raises(AssertionError):
        measure.measure_guest(FakeBenchmark(), b"guest", technique="trap", operations=20)
    assert measure.MEASURED == []


def test_a_reference_is_noted_as_the_binding() -> None:
    runs: list[int] = []
    benchmark = FakeBenchmark()
    make: Any = lambda: SimpleNamespace(run=runs.append)  # noqa: E731 (of any type, unlike a function)
    reference = Reference("cli", make, 10)
    measure.measure_reference(benchmark, reference)
    assert runs == [10, 10]
    assert (benchmark.extra_info["technique"], benchmark.extra_info["exits"]) == ("binding", 10)


def test_the_clock_runs_in_seconds_an_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 3.0)
    mark = measure.per_operation("cli", 1000)
    assert mark.kwargs["group"] == "cli"
    assert mark.kwargs["timer"]() == 0.003


def test_disabled_benchmarks_note_no_time() -> None:
    benchmark = FakeBenchmark()
    benchmark.stats = None
    measure.note(benchmark, "trap", 10, 10)
    assert measure.MEASURED == []
