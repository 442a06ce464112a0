"""Sizes for an engine: as given, else as the memory's size asks, and within what the core takes."""

from __future__ import annotations

import pytest

from pv.engine_options import ENGINE_OPTIONS, OWN_OPTIONS, engine_sizes
from pv.memory import MAX_MEMORY_BYTES

MIB = 1 << 20


@pytest.mark.parametrize("memory_bytes", [MIB, 16 * MIB, 1024 * MIB, MAX_MEMORY_BYTES])
def test_sizes_lie_within_what_a_person_may_ask_for(memory_bytes: int) -> None:
    sizes = engine_sizes({}, memory_bytes)
    assert set(sizes) == {option.name for option in OWN_OPTIONS} == set(ENGINE_OPTIONS)
    for option in OWN_OPTIONS:
        assert option.least is not None
        assert option.most is not None
        assert option.least <= sizes[option.name] <= option.most


def test_tables_of_all_memory_fit_the_monitor_s_pages() -> None:
    pages = engine_sizes({}, 1024 * MIB)["monitor_pages"]
    assert pages > 1024 * MIB // 4096 // 512


def test_what_is_given_stands() -> None:
    sizes = engine_sizes({"monitor_pages": 4096, "other.option": 1, "translation_buffer_bytes": None}, 16 * MIB)
    assert sizes == {"monitor_pages": 4096, "translation_buffer_bytes": MIB}
