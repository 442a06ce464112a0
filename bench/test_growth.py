"""Whether each workload's cost grows as a straight line; the figures stand in extra_info and in the closing table."""

from __future__ import annotations

from typing import Any

import pytest

from bench.compare import PACKAGES, WORKLOADS
from bench.growth import GROWN, measure_growth


@pytest.mark.benchmark(group="a hundred times the work")
@pytest.mark.parametrize("technique", PACKAGES)
@pytest.mark.parametrize("name", WORKLOADS)
def test_growth(benchmark: Any, name: str, technique: str) -> None:
    growth = benchmark.pedantic(measure_growth, args=(name, technique), rounds=1, iterations=1)
    GROWN.append(growth)
    benchmark.extra_info.update(
        technique=technique, operations=growth.operations, short_ns=growth.short_ns, long_ns=growth.long_ns
    )
    assert growth.short_ns > 0
