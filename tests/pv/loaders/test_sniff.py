"""Choosing a loader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.loaders import Image, LoadError, load, sniff
from pv.loaders.elf import load_elf
from pv.loaders.flat import load_flat
from pv.loaders.sniff import REFUSED
from tests.pv.loaders.tiny_elf import MIB, TinyElf


def test_elf_is_known_by_its_magic_and_the_rest_is_flat() -> None:
    assert sniff(TinyElf().build()) is load_elf
    assert [sniff(data) for data in (b"\x90\xf4", b"", b"\x7fEL", b"MZ\x90")] == [load_flat] * 4


@pytest.mark.parametrize(("offset", "magic", "what"), REFUSED)
def test_formats_that_are_no_guests_are_refused_by_name(offset: int, magic: bytes, what: str) -> None:
    with pytest.raises(LoadError) as error:
        sniff(bytes(offset) + magic + bytes(64))
    assert what in str(error.value)


def test_a_file_is_read_once_and_its_image_shared() -> None:
    data = TinyElf(symbols=(("start", MIB, 0x12, 1),)).build()
    image = load(data, 2 * MIB)
    assert load(bytes(bytearray(data)), 2 * MIB) is image
    assert load(data, 4 * MIB) is not image, "what fits is another question in another memory"
    with pytest.raises(TypeError):
        image.symbols["start"] = 0  # type: ignore[index]  # shared, so not to be changed


@given(st.binary(max_size=300))
def test_any_bytes_load_or_are_refused_in_one_line(data: bytes) -> None:
    try:
        outcome: object = load(data, 2 * MIB)
    except LoadError as error:
        outcome = str(error)
    assert isinstance(outcome, Image) or (isinstance(outcome, str) and "\n" not in outcome)
