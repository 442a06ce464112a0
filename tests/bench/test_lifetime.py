"""The machines that are weighed have done their work, and what they have written is theirs."""

from __future__ import annotations

import pytest

from bench.compare import PACKAGES
from bench.lifetime import PAGE_BYTES, bytes_beside_memory, hello_guest, live, resident_bytes, written


@pytest.mark.parametrize("technique", PACKAGES)
def test_a_machine_has_printed_its_line(technique: str) -> None:
    with live(hello_guest(technique), technique) as machine:
        assert machine.console.text == "hello, world\n"
        assert 0 < written(machine) < machine.memory.size_bytes


def test_written_pages_are_counted_whole() -> None:
    with live(hello_guest("paravirt"), "paravirt") as machine:
        before = written(machine)
        machine.memory.write(machine.memory.size_bytes - PAGE_BYTES - 1, b"xy")
        assert written(machine) == before + 2 * PAGE_BYTES


def test_what_is_weighed_is_less_than_all_there_is() -> None:
    assert bytes_beside_memory(hello_guest("paravirt"), "paravirt") < resident_bytes()
