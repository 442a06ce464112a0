"""Addresses in the task file: CHS, 28 and 48 bits, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.ata_registers import AtaError, Device, Error, Register, TaskFile

HUGE = 1 << 48


def written(sectors: int, low: int, middle: int, high: int, device: int, count: int = 1) -> TaskFile:
    file = TaskFile(sectors)
    for register, value in zip((Register.COUNT, 3, 4, 5, 6), (count, low, middle, high, device), strict=True):
        file.write(register, value)
    return file


@given(st.integers(0, (1 << 28) - 1))
def test_a_28_bit_address_there_and_back(sector: int) -> None:
    low, middle, high, top = sector.to_bytes(4, "little")
    file = written(1 << 28, low, middle, high, Device.LBA | top)
    assert file.span(extended=False) == (sector, 1)
    again = written(1 << 28, 0, 0, 0, Device.LBA)
    again.show(sector)
    assert again.span(extended=False)[0] == sector


@given(st.integers(0, HUGE - 1))
def test_a_48_bit_address_there_and_back(sector: int) -> None:
    file = TaskFile(HUGE)
    address = sector.to_bytes(6, "little")
    for part in (address[3:], address[:3]):
        for register, byte in zip((3, 4, 5), part, strict=True):
            file.write(register, byte)
    file.write(Register.COUNT, 0)
    file.write(Register.COUNT, 1)
    assert file.span(extended=True) == (sector, 1)
    again = written(HUGE, 0, 0, 0, Device.LBA)
    again.show(sector)
    assert again.span(extended=True)[0] == sector


@given(st.integers(0, 1008 * 1024 - 1))
def test_a_chs_address_there_and_back(sector: int) -> None:
    file = written(1 << 28, 0, 0, 0, 0)
    file.show(sector)
    assert file.span(extended=False) == (sector, 1)
    assert 1 <= file.read(Register.LBA_LOW, high_order=False) <= 63


@pytest.mark.parametrize(
    ("low", "device"), [(0, 0), (64, 0), (63, 15 | Device.NUMBER), (255, 0)], ids=["0", "64", "last", "255"]
)
def test_a_track_has_sectors_1_to_63(low: int, device: int) -> None:
    file = written(1 << 28, low, 0, 0, device)
    if low == 63:
        assert file.span(extended=False)[0] == 15 * 63 + 62
    else:
        with pytest.raises(AtaError) as refused:
            file.span(extended=False)
        assert (refused.value.error, refused.value.sector) == (Error.NO_SUCH_ADDRESS, None)


def test_a_head_beyond_the_translation_is_not_there() -> None:
    file = written(1 << 28, 1, 0, 0, 4)
    file.heads = 4
    with pytest.raises(AtaError):
        file.span(extended=False)


@pytest.mark.parametrize(("extended", "count", "sectors"), [(False, 0, 256), (False, 7, 7), (True, 0, 65536)])
def test_a_count_of_0_is_the_most(extended: bool, count: int, sectors: int) -> None:
    assert written(1 << 28, 0, 0, 0, Device.LBA, count).span(extended=extended)[1] == sectors


@pytest.mark.parametrize(("low", "count", "first_wrong"), [(99, 2, 100), (100, 1, 100), (200, 1, 200)])
def test_what_lies_beyond_the_disk_is_named(low: int, count: int, first_wrong: int) -> None:
    with pytest.raises(AtaError) as refused:
        written(100, low, 0, 0, Device.LBA, count).span(extended=False)
    assert (refused.value.error, refused.value.sector) == (Error.NO_SUCH_ADDRESS, first_wrong)


def test_registers_keep_what_was_written_before() -> None:
    file = TaskFile(1)
    for value in (1, 2, 3):
        file.write(Register.LBA_MID, value)
    assert [file.read(Register.LBA_MID, high_order=high) for high in (False, True)] == [3, 2]


@pytest.mark.parametrize(("sectors", "cylinders"), [(1, 1), (1008, 1), (2016, 2), (1 << 40, 16_383)])
def test_cylinders_are_at_least_one_and_at_most_what_words_hold(sectors: int, cylinders: int) -> None:
    assert TaskFile(sectors).cylinders == cylinders
