"""Flat machine code."""

from __future__ import annotations

import pytest

from guest_sdk.abi import LOAD_FIRST
from pv.loaders import LoadError
from pv.loaders.flat import load_flat

MIB = 1 << 20


def test_it_is_one_segment_with_all_rights_entered_at_its_first_byte() -> None:
    image = load_flat(b"\x90\xf4", 2 * MIB)
    (segment,) = image.segments
    assert (image.entry, segment.gpa, segment.data, segment.size_bytes) == (LOAD_FIRST, LOAD_FIRST, b"\x90\xf4", 2)
    assert (segment.writable, segment.executable, image.abi_version, image.symbols) == (True, True, None, {})


@pytest.mark.parametrize(("data", "line"), [(b"", "empty file"), (bytes(MIB + 1), "more memory")])
def test_what_cannot_be_loaded_is_refused(data: bytes, line: str) -> None:
    with pytest.raises(LoadError, match=line):
        load_flat(data, 2 * MIB)


def test_all_of_memory_may_be_used() -> None:
    assert load_flat(bytes(MIB), 2 * MIB).segments[0].end == 2 * MIB
