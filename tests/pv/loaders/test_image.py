"""Placing an image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pv.loaders import Image, LoadError, Segment
from pv.memory import GuestMemory

MIB = 1 << 20


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    memory = GuestMemory(2 * MIB)
    yield memory
    memory.close()


def test_place_copies_each_segment_and_leaves_the_rest_zero(memory: GuestMemory) -> None:
    segments = (Segment(MIB, b"code", 4, False, True), Segment(MIB + 0x1000, b"data", 0x2000, True, False))
    Image(MIB, segments).place(memory)
    assert memory.read(MIB, 6) == b"code\0\0"
    assert memory.read(MIB + 0x1000, 0x2000) == b"data".ljust(0x2000, b"\0")


def test_a_segment_beyond_memory_is_refused_in_one_line(memory: GuestMemory) -> None:
    image = Image(MIB, (Segment(2 * MIB - 4, b"", 8, True, False),))
    with pytest.raises(LoadError, match=r"^segment 0x1ffffc-0x200004 ends beyond .*give the machine more memory"):
        image.place(memory)
