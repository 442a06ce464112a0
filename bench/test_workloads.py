"""What each workload costs under each technique: a pair a workload, its exits beside its time."""

from __future__ import annotations

from typing import Any

import pytest

from bench.compare import PACKAGES, WORKLOADS, find_workload
from bench.measure import measure_guest


@pytest.mark.parametrize("technique", PACKAGES)
@pytest.mark.parametrize("name", WORKLOADS)
def test_workload(benchmark: Any, name: str, technique: str) -> None:
    workload = find_workload(name, technique)
    operations = find_workload(name, "paravirt").DEFAULT_OPERATIONS  # the same number for both of a pair
    outcome = measure_guest(
        benchmark, workload.build(operations), group=f"workload {name}", technique=technique, operations=operations
    )
    assert outcome.console.splitlines()[-1].startswith("result ")
