"""What making, running and dropping a machine takes, and what it holds beside its guest's memory."""

from __future__ import annotations

from typing import Any

import pytest

from bench.compare import PACKAGES
from bench.lifetime import bytes_beside_memory, hello_guest, live


@pytest.mark.benchmark(group="a machine made, run and dropped")
@pytest.mark.parametrize("technique", PACKAGES)
def test_lifetime(benchmark: Any, technique: str) -> None:
    image = hello_guest(technique)
    exits = live(image, technique).vcpu.exits
    benchmark.extra_info.update(
        technique=technique, exits=exits, bytes_beside_memory=bytes_beside_memory(image, technique)
    )
    benchmark.pedantic(lambda: live(image, technique).close(), rounds=1000, iterations=1, warmup_rounds=50)
    assert exits > 0
