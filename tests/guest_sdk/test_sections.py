"""Pieces of data at their alignment, and their bytes in the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import AssemblyError
from guest_sdk.expressions import parse
from guest_sdk.sections import READ, Piece, Section, page_after

NAMES = {"here": 0x101000}


def test_pieces_stand_at_their_alignment() -> None:
    section = Section(".data", READ)
    section.add(Piece("a", 1, 3, b"abc"))
    section.add(Piece("b", 16, 1, b"d"))
    assert [at for at, _ in section.offsets()] == [0, 16]
    assert section.size_bytes == 17
    assert section.render(NAMES.__getitem__) == b"abc" + bytes(13) + b"d"


def test_values_are_resolved_when_rendered() -> None:
    section = Section(".data", READ)
    section.add(Piece("gdtr", 1, 10, ((2, parse("24 - 1")), (8, parse("here + 8")))))
    assert section.render(NAMES.__getitem__) == b"\x17\0" + (0x101008).to_bytes(8, "little")


def test_a_value_that_does_not_fit_is_named() -> None:
    section = Section(".data", READ)
    section.add(Piece("gate", 1, 2, ((2, parse("here")),)))
    with pytest.raises(AssemblyError, match=r"gate: here.*does not fit in 2 bytes"):
        section.render(NAMES.__getitem__)


def test_zeroes_take_no_file_space() -> None:
    section = Section(".bss", READ)
    section.add(Piece("a", 4096, 5000, None))
    assert (section.size_bytes, section.render(NAMES.__getitem__)) == (5000, b"")


def test_alignment_is_checked() -> None:
    with pytest.raises(AssemblyError, match="power of two"):
        Section(".data", READ).add(Piece("a", 3, 1, b"a"))


@given(st.integers(0, 1 << 40))
def test_page_after(address: int) -> None:
    page = page_after(address)
    assert page % 4096 == 0
    assert 0 <= page - address < 4096
