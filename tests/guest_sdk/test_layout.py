"""Addresses of instructions: branches as short as they can be, directives, one round's outcome."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import AssemblyError
from guest_sdk.layout import NOP, check_align, guess, pack, place
from guest_sdk.syntax import parse_text

BASE = 0x100000


def no_names(name: str) -> int:
    """The lookup of a line that names nothing."""
    raise KeyError(name)


def test_guess_puts_every_label_next_door() -> None:
    items, _ = parse_text("a: nop\nnop\nb: nop")
    assert guess(items, BASE) == {"a": BASE, "b": BASE + 3}


def test_place_gives_bytes_labels_and_spans() -> None:
    items, _ = parse_text("a: nop\n.align 8\nb: mov eax, 1\n.byte 1, -1\n.quad b")
    placed = place(items, BASE, {"b": BASE + 8}.__getitem__, {}, [])
    assert placed.code == NOP * 8 + b"\xb8\x01\0\0\0\x01\xff" + (BASE + 8).to_bytes(8, "little")
    assert placed.labels == {"a": BASE, "b": BASE + 8}
    assert placed.spans[3:] == [(BASE + 8, 0), (BASE + 8, 5), (BASE + 13, 2), (BASE + 15, 8)]


def test_shrunk_items_are_filled_up() -> None:
    items, _ = parse_text("nop\nret")
    assert place(items, BASE, no_names, {}, [3, 1]).code == b"\x90\x90\x90\xc3"


@pytest.mark.parametrize("line", [".byte 256", ".word -32769", ".align 3", ".align 8192", ".align 0", "push 0xffff"])
def test_the_line_is_named(line: str) -> None:
    items, _ = parse_text(f"nop\n{line}")
    with pytest.raises(AssemblyError) as raised:
        place(items, BASE, no_names, {}, [])
    assert raised.value.line == line


@pytest.mark.parametrize("align", [1, 2, 16, 4096])
def test_alignments(align: int) -> None:
    assert check_align(align) == align


@given(st.integers(-(1 << 70), 1 << 70), st.integers(1, 8))
def test_pack_keeps_the_value_or_refuses(value: int, size_bytes: int) -> None:
    bits = 8 * size_bytes
    try:
        packed = pack(value, size_bytes)
    except AssemblyError:
        assert not -(1 << bits - 1) <= value < 1 << bits
        return
    assert int.from_bytes(packed, "little", signed=value < 0) == value
