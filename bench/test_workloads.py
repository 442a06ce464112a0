"""What each workload costs under each technique: a pair a workload, its exits beside its time."""

from __future__ import annotations

from typing import Any

import pytest

from bench.compare import PACKAGES, WORKLOADS, find_workload
from bench.measure import measure_guest, per_operation

OPERATIONS = {name: find_workload(name, "paravirt").DEFAULT_OPERATIONS for name in WORKLOADS}  # for both of a pair
PAIRS = [
    pytest.param(name, technique, id=f"{name}-{technique}", marks=per_operation(f"workload {name}", OPERATIONS[name]))
    for name in WORKLOADS
    for technique in PACKAGES
]


@pytest.mark.parametrize(("name", "technique"), PAIRS)
def test_workload(benchmark: Any, name: str, technique: str) -> None:
    operations = OPERATIONS[name]
    image = find_workload(name, technique).build(operations)
    outcome = measure_guest(benchmark, image, technique=technique, operations=operations)
    assert outcome.console.splitlines()[-1].startswith("result ")
