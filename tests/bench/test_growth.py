"""A line is told from a curve: what a guest spends before its first operation is taken off."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from rich.console import Console

import bench.growth as growth
from bench.compare import Run
from bench.growth import TIMES, Growth, growth_table, measure_growth
from pv.report.comparison import WELL

BOOT_S = 0.5


@pytest.fixture(autouse=True)
def _numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are their number of operations."""
    module = SimpleNamespace(build=lambda operations: str(operations).encode())
    monkeypatch.setattr(growth, "find_workload", lambda _workload, _technique: module)


def taking(seconds: Callable[[int], float]) -> Callable[[bytes, str], Run]:
    return lambda image, _technique: Run(BOOT_S + seconds(int(image)), {}, "", WELL)


def test_a_line_has_a_ratio_of_1() -> None:
    row = measure_growth("map", "trap", taking(lambda operations: operations * 1e-6))
    assert row.ratio == pytest.approx(1, rel=1e-3)
    assert row.short_ns == pytest.approx(1000, rel=1e-3)
    assert row.operations * 1e-6 >= growth.LEAST_SECONDS


def test_a_curve_has_a_larger_one() -> None:
    row = measure_growth("map", "trap", taking(lambda operations: operations**2 * 1e-9))
    assert row.ratio == pytest.approx(TIMES, rel=0.01)


def test_the_table_has_a_line_for_each_row() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(growth_table([Growth("map", "trap", 800, 1000.0, 1100.0)]))
    (line,) = [line.replace("│", " ").split() for line in out.getvalue().splitlines() if "map" in line]
    assert line == ["map", "trap", "800", "1,000.0", "1,100.0", "1.10"]
