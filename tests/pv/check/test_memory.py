"""Which bits a processor may set at its own moment: of tables and descriptors, and of nothing else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.check.memory import Rules, Tables, compare_memory, descriptor_words, walk
from pv.check.timing import Area

ROOT, POINTERS, DIRECTORY, TABLE, DATA, PAGES = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 8
P, A, D, LARGE = 1, 0x20, 0x40, 0x80


def memory(words: dict[int, int]) -> bytes:
    made = bytearray(PAGES * 0x1000)
    for gpa, value in {
        ROOT: POINTERS | P,
        POINTERS: DIRECTORY | P,
        DIRECTORY: TABLE | P,
        TABLE: DATA | P,
        **words,
    }.items():
        made[gpa : gpa + 8] = struct.pack("<Q", value)
    return bytes(made)


PLAIN = memory({})


def compared(
    words: dict[int, int], base: dict[int, int] | None = None, descriptors: set[int] | None = None
) -> tuple[int, int]:
    left, right = memory(base or {}), memory({**(base or {}), **words})
    found = compare_memory(left, right, (), Rules(left, right, [(ROOT, 3)], descriptors or set()))
    return found.differing, found.normalised


@pytest.mark.parametrize(
    "words",
    [{TABLE: DATA | P | A}, {TABLE: DATA | P | A | D}, {DIRECTORY: TABLE | P | A}, {ROOT: POINTERS | P | A}],
)
def test_accessed_and_dirty_bits_of_tables_are_normalised(words: dict[int, int]) -> None:
    assert compared(words) == (0, 1)


def test_a_large_page_has_a_dirty_bit() -> None:
    assert compared({DIRECTORY: P | LARGE | D}, {DIRECTORY: P | LARGE}) == (0, 1)


@pytest.mark.parametrize(
    "words",
    [
        {DIRECTORY: TABLE | P | D},  # of an entry that leads to a table it is software's
        {TABLE: DATA | P | 2},  # a right is no such bit
        {TABLE + 8: A},  # not present: software's
        {DATA: 0x61},  # looks like an entry and lies in no table
    ],
)
def test_every_other_bit_counts(words: dict[int, int]) -> None:
    assert compared(words)[0] == 1


def test_a_table_must_be_one_in_both_memories() -> None:
    right = memory({DIRECTORY: 0, TABLE: DATA | P | A})
    found = compare_memory(PLAIN, right, (), Rules(PLAIN, right, [(ROOT, 3)], set()))
    assert found.first is not None
    assert found.first.gpa == DIRECTORY
    assert found.normalised == 0


def test_the_accessed_bit_of_a_descriptor() -> None:
    segment, accessed = 0x00CF92000000FFFF, 0x00CF93000000FFFF
    assert compared({DATA: accessed}, {DATA: segment}, {DATA}) == (0, 1)
    assert compared({DATA: accessed}, {DATA: segment})[0] == 1
    assert (
        compared({DATA: 0x00008B0000000067}, {DATA: 0x0000890000000067}, {DATA})[0] == 1
    )  # a TSS gets busy when it does


def test_areas_are_left_out_to_the_byte() -> None:
    right = PLAIN[:DATA] + b"\1\2\3" + PLAIN[DATA + 3 :]
    found = compare_memory(PLAIN, right, [Area(DATA, 2)], None)
    assert (found.first, found.differing) == ((DATA + 2, 0, 3), 1)


def test_descriptors_are_found_through_the_tables() -> None:
    registers = {"cr3": ROOT, "gdt_base": 0x10, "gdt_limit": 0x17, "ldt_base": 0x40_0000, "ldt_limit": 7}
    assert descriptor_words(PLAIN, registers) == {DATA + 0x10, DATA + 0x18, DATA + 0x20}


def test_walks_end_where_nothing_is() -> None:
    assert walk(PLAIN, ROOT, 0x123) == DATA + 0x123
    assert walk(PLAIN, ROOT, 0x1000) is None
    assert walk(PLAIN, 0x7000000, 0) is None
    assert walk(memory({DIRECTORY: 0x4000000 | P | LARGE}), ROOT, 0x1234) == 0x4001234


@given(
    st.dictionaries(
        st.sampled_from(range(ROOT, DATA, 8)),
        st.sampled_from([P | frame for frame in (ROOT, POINTERS, DIRECTORY, TABLE, 1 << 40)]),
        max_size=30,
    )
)
def test_tables_of_any_shape_have_an_end(words: dict[int, int]) -> None:
    levels = Tables(memory(words), [(ROOT, 3)]).levels
    assert levels[ROOT] >= {3}
    assert all(found <= {0, 1, 2, 3} for found in levels.values())
