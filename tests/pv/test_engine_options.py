"""Sizes for an engine: as given, else as the memory's size asks, and within what the core takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pv.engine_options import ENGINE_OPTIONS, OWN_OPTIONS, cache_bytes, control_block, engine_sizes
from pv.memory import MAX_MEMORY_BYTES
from pv.techniques import technique
from pv.techniques.controls import DEFAULT

MIB = 1 << 20


@pytest.mark.parametrize("memory_bytes", [MIB, 16 * MIB, 1024 * MIB, MAX_MEMORY_BYTES])
def test_sizes_lie_within_what_a_person_may_ask_for(memory_bytes: int) -> None:
    sizes = engine_sizes({}, memory_bytes)
    sized = [option for option in OWN_OPTIONS if option.type is int]
    assert set(sizes) == {option.name for option in sized} - {"cache_bytes"} == set(ENGINE_OPTIONS)
    sizes["cache_bytes"] = cache_bytes({})
    for option in sized:
        assert option.least is not None
        assert option.most is not None
        assert option.least <= sizes[option.name] <= option.most


def test_tables_of_all_memory_fit_the_monitor_s_pages() -> None:
    pages = engine_sizes({}, 1024 * MIB)["monitor_pages"]
    assert pages > 1024 * MIB // 4096 // 512


def test_what_is_given_stands() -> None:
    sizes = engine_sizes({"monitor_pages": 4096, "other.option": 1, "translation_buffer_bytes": None}, 16 * MIB)
    assert sizes == {"monitor_pages": 4096, "translation_buffer_bytes": MIB}


def test_the_option_turns_controls_of_the_techniques_block_on() -> None:
    hardware, trap = technique("hardware"), technique("trap")
    assert control_block(hardware, {}) == control_block(hardware, {"intercept": ""}) == DEFAULT
    more = control_block(hardware, {"intercept": "cr3.write"})
    assert more == replace(DEFAULT, cr_writes=DEFAULT.cr_writes | 1 << 3)
    assert control_block(trap, {}) is None
    with pytest.raises(ValueError, match="technique 'trap' has no control block; 'hardware' has"):
        control_block(trap, {"intercept": "cr3"})
