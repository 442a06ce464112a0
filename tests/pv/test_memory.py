"""Guest-physical memory: sizes as people write them, bounds that no number gets past, copies."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EFAULT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.exits import GuestError
from pv.memory import MAX_MEMORY_BYTES, PAGE_SIZE, GuestMemory, parse_size

MIB = 1 << 20
SIZE = 2 * MIB
numbers = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.integers(-PAGE_SIZE, PAGE_SIZE),
    st.integers(SIZE - PAGE_SIZE, SIZE + PAGE_SIZE),
    st.sampled_from(((1 << 64) - 1, 1 << 64, 1 << 63, -1)),
)


@pytest.fixture(scope="module")
def memory() -> Iterator[GuestMemory]:
    memory = GuestMemory(SIZE)
    yield memory
    memory.close()


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        (4096, 4096), ("4096", 4096), ("4096B", 4096), ("512K", 512 << 10), ("512KiB", 512 << 10), ("512kb", 512 << 10),
        ("16MiB", 16 * MIB), (" 16 m ", 16 * MIB), ("2G", 2 << 30), ("2GiB", 2 << 30), ("0", 0),
    ],
)  # fmt: skip
def test_sizes(text: str | int, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5M", "16 MiBs", "0x10", "16P", "1 6", "K16", "16iB M"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number with an optional K, M, G or T"):
        parse_size(text)


@given(
    st.integers(0, 1 << 40),
    st.sampled_from(((10, "K"), (20, "M"), (30, "G"), (0, ""))),
    st.sampled_from(("", "B", "iB")),
)
def test_every_number_and_unit(number: int, unit: tuple[int, str], ending: str) -> None:
    assert parse_size(f"{number}{unit[1]}{ending}") == number << unit[0]


@pytest.mark.parametrize("size_bytes", [0, -1, MIB - 1, MAX_MEMORY_BYTES + 1, 1 << 64])
def test_sizes_that_no_machine_has(size_bytes: int) -> None:
    with pytest.raises(ValueError, match="not between 1MiB and 64GiB"):
        GuestMemory(size_bytes)


def test_a_size_is_rounded_up_to_a_page() -> None:
    memory = GuestMemory(MIB + 1)
    assert memory.size_bytes == len(memory.view) == MIB + PAGE_SIZE
    memory.close()


def test_memory_is_zeroed_and_ends_where_it_says(memory: GuestMemory) -> None:
    assert memory.read(SIZE - 16, 16) == bytes(16)
    assert memory.read(SIZE, 0) == b""
    memory.write(SIZE, b"")


@given(numbers, numbers)
def test_no_read_leads_outside(memory: GuestMemory, gpa: int, size_bytes: int) -> None:
    if gpa >= 0 and size_bytes >= 0 and gpa + size_bytes <= SIZE:
        assert len(memory.read(gpa, size_bytes)) == size_bytes
        return
    with pytest.raises(GuestError) as caught:
        memory.read(gpa, size_bytes)
    assert caught.value.errno == EFAULT


@given(numbers, st.binary(max_size=64))
def test_no_write_leads_outside(memory: GuestMemory, gpa: int, data: bytes) -> None:
    if 0 <= gpa <= SIZE - len(data):
        memory.write(gpa, data)
        assert memory.read(gpa, len(data)) == data
        return
    before = memory.read(SIZE - 64, 64), memory.read(0, 64)
    with pytest.raises(GuestError) as caught:
        memory.write(gpa, data)
    assert caught.value.errno == EFAULT
    assert before == (memory.read(SIZE - 64, 64), memory.read(0, 64))


@given(st.integers(0, SIZE - 8), st.integers(1, 8), st.data())
def test_numbers_are_little_endian(memory: GuestMemory, gpa: int, size_bytes: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, (1 << 8 * size_bytes) - 1))
    memory.write_uint(gpa, size_bytes, value)
    assert memory.read_uint(gpa, size_bytes) == value
    assert memory.read(gpa, size_bytes) == value.to_bytes(size_bytes, "little")


def test_a_number_too_large_for_its_size_is_our_mistake(memory: GuestMemory) -> None:
    with pytest.raises(OverflowError):
        memory.write_uint(0, 2, 1 << 16)


def test_what_is_read_is_a_copy(memory: GuestMemory) -> None:
    memory.write(64, b"before")
    copy = memory.read(64, 6)
    memory.write(64, b"after!")
    assert copy == b"before"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_written(memory: GuestMemory, kind: type) -> None:
    memory.write(128, kind(b"abc"))
    assert memory.read(128, 3) == b"abc"


def test_a_closed_memory_is_of_no_use() -> None:
    memory = GuestMemory(MIB)
    memory.close()
    with pytest.raises(ValueError, match="released"):
        memory.read(0, 1)
