"""Labels across text and data, branches that grow, and addresses that settle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import AssemblyError
from guest_sdk.link import Image, link
from guest_sdk.sections import READ, WRITE, Piece, Section
from guest_sdk.syntax import parse_text
from guest_sdk.verify import decode

BASE = 0x100000


def linked(text: str, *sections: Section, **constants: int) -> Image:
    return link(parse_text(text)[0], sections, constants, BASE)


def address(image: Image, name: str) -> int:
    return next(symbol.address for symbol in image.symbols if symbol.name == name)


def test_text_and_data_name_each_other() -> None:
    data = Section(".data", READ | WRITE, [Piece("word", 8, 8, b"abcdefgh")])
    image = linked("main: mov rax, [word]\nlea rcx, [main]\nret", data)
    assert address(image, "word") == BASE + 0x1000
    load = decode(image.placed.code[:10], BASE)
    assert load.memory_displacement == BASE + 0x1000


@pytest.mark.parametrize(("distance", "length"), [(100, 2), (127, 2), (128, 5), (5000, 5)])
def test_a_branch_is_as_short_as_it_can_be(distance: int, length: int) -> None:
    image = linked("jmp there\n" + "nop\n" * distance + "there: ret")
    assert image.placed.spans[0][1] == length
    assert address(image, "there") == BASE + length + distance


def test_one_branch_that_grows_makes_another_grow() -> None:
    image = linked("jmp a\njmp b\n" + "nop\n" * 125 + "a: nop\nnop\nnop\nb: ret")
    assert [size for _, size in image.placed.spans[:2]] == [5, 5]


def test_label_differences_are_numbers() -> None:
    image = linked("start: mov eax, end - start\n.byte end - start\nend: ret")
    assert image.placed.code == b"\xb8\x06\0\0\0\x06\xc3"


def test_a_size_that_depends_on_itself_is_filled_up() -> None:
    # the shorter the instruction, the greater the difference: neither form is its own reason
    image = linked("add rcx, 0x7f + (4 - (end - start)) * 8\nstart: add rbx, 0x7f + 4 - (end - start)\nend: ret")
    assert image.placed.code.endswith(b"\xc3")
    assert address(image, "end") == BASE + len(image.placed.code) - 1


def test_undefined_label_is_named_with_its_line() -> None:
    with pytest.raises(AssemblyError, match="undefined label or constant 'nowhere'") as raised:
        linked("nop\n  call nowhere")
    assert raised.value.line == "call nowhere"


def test_a_guest_too_large_for_its_labels_is_refused() -> None:
    sections = [Section(f".bss{n}", READ, [Piece(f"b{n}", 1, (1 << 31) - 1, None)]) for n in range(2)]
    with pytest.raises(AssemblyError, match="2 GiB"):
        linked("ret", *sections)


def test_sizes_of_functions_reach_to_the_next() -> None:
    image = linked("a: nop\n.b: nop\nc: ret")
    assert [(s.name, s.size_bytes, s.local) for s in image.symbols] == [
        ("a", 2, False),
        ("a.b", 0, True),
        ("c", 1, False),
    ]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["jmp", "jz", "call"]), st.integers(0, 11), st.integers(0, 90)),
        min_size=12,
        max_size=12,
    )
)
def test_every_branch_reaches_its_label(blocks: list[tuple[str, int, int]]) -> None:
    lines = [f"l{n}:\n{verb} l{target}\n.align 4\n" + "nop\n" * gap for n, (verb, target, gap) in enumerate(blocks)]
    image = linked("".join(lines))
    labels = image.placed.labels
    for n, (_, target, _) in enumerate(blocks):
        at = labels[f"l{n}"]
        size = next(size for start, size in image.placed.spans if start == at and size)
        code = image.placed.code[at - BASE : at - BASE + size]
        assert decode(code, at).near_branch_target == labels[f"l{target}"]
