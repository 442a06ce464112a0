"""Names of addresses from the symbol table."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pv.loaders import LoadError
from pv.loaders.elf import load_elf
from pv.loaders.elf_symbols import NAME_BYTES_MOST
from tests.pv.loaders.tiny_elf import MIB, TinyElf

LOCAL, GLOBAL = 0x00, 0x10
FUNC, SECTION, FILE = 2, 3, 4
UNDEFINED, ABSOLUTE = 0, 0xFFF1


def symbols(*entries: tuple[str, int, int, int]) -> Mapping[str, int]:
    return load_elf(TinyElf(symbols=entries).build(), 2 * MIB).symbols


def test_a_stripped_file_has_none() -> None:
    assert load_elf(TinyElf().build(), 2 * MIB).symbols == {}


def test_defined_functions_objects_and_labels_are_named() -> None:
    assert symbols(("start", MIB, GLOBAL | FUNC, 1), ("loop", MIB + 2, LOCAL, 1)) == {"start": MIB, "loop": MIB + 2}


def test_what_is_no_address_is_left_out() -> None:
    assert (
        symbols(
            ("", 1, GLOBAL, 1),
            ("section", 2, SECTION, 1),
            ("file.c", 3, FILE, 1),
            ("extern", 4, GLOBAL, UNDEFINED),
            ("SIZE", 5, GLOBAL, ABSOLUTE),
        )
        == {}
    )


@pytest.mark.parametrize("order", [1, -1])
def test_a_global_name_wins_over_a_local_one(order: int) -> None:
    assert symbols(*[("twice", 1, LOCAL, 1), ("twice", 2, GLOBAL, 1)][::order]) == {"twice": 2}


def test_a_long_name_is_cut() -> None:
    assert list(symbols(("x" * 1000, 1, GLOBAL, 1))) == ["x" * NAME_BYTES_MOST]


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        (0x28, 99, "names section 99, which is not there"),
        (0x18, 1 << 40, "ends beyond"),
        (0x20, 1 << 63, "ends beyond"),
    ],
)
def test_a_table_that_points_nowhere_is_refused(field: int, value: int, line: str) -> None:
    data = bytearray(TinyElf(symbols=(("start", MIB, GLOBAL, 1),)).build())
    at = len(data) - 2 * 64 + field
    size = 4 if field == 0x28 else 8
    data[at : at + size] = value.to_bytes(size, "little")
    with pytest.raises(LoadError, match=line):
        load_elf(bytes(data), 2 * MIB)
