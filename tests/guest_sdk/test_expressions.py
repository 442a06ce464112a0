"""Values of expressions, registers as linear terms, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import AssemblyError
from guest_sdk.expressions import Linear, parse

NAMES = {"here": 0x100000, "size": 8, "a.loop": 5}


def value(text: str) -> int:
    return parse(text).integer(NAMES.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0x10", 16),
        ("0b101", 5),
        ("0o17", 15),
        ("1_000", 1000),
        ("'a'", 97),
        (r"'\n'", 10),
        ("';'", 59),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("-4 - -3", -1),
        ("10 - 3 - 2", 5),
        ("~0 & 0xff", 255),
        ("here >> 16 & 0xffff", 0x10),
        ("1 << 4 | size", 24),
        ("17 / 5 + 17 % 5", 5),
        ("a.loop", 5),
        ("1 ^ 3", 2),
    ],
)
def test_values(text: str, expected: int) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1 2", "1 +", "(1", "1)", "0xg", "10h", "010", "08", "$", "1 / 0", "1 << 200", r"'\q'", "''"]
)
def test_refused(text: str) -> None:
    with pytest.raises(AssemblyError):
        value(text)


def test_values_stay_small() -> None:
    with pytest.raises(AssemblyError, match="bits"):
        value(" * ".join(["0xffffffffffffffff"] * 3))


def linear(text: str) -> Linear:
    return parse(text, lambda name: name in {"rax", "rbx", "rip"}).evaluate(NAMES.__getitem__)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rax", Linear(0, (("rax", 1),))),
        ("RAX*8 + here - 4", Linear(0xFFFFC, (("rax", 8),))),
        ("size*rbx + rax", Linear(0, (("rbx", 8), ("rax", 1)))),
        ("rax + rax", Linear(0, (("rax", 2),))),
        ("rax - rax + 1", Linear(1)),
        ("2*(rax + 4)", Linear(8, (("rax", 2),))),
    ],
)
def test_registers_are_terms(text: str, expected: Linear) -> None:
    assert linear(text) == expected


@pytest.mark.parametrize("text", ["rax*rbx", "rax & 1", "-rax", "~rax", "rax << 1", "1 / rax"])
def test_registers_only_in_sums(text: str) -> None:
    with pytest.raises(AssemblyError, match="register"):
        linear(text)


def test_a_number_is_no_register() -> None:
    with pytest.raises(AssemblyError, match="not a register"):
        parse("rax + 1", lambda name: name == "rax").integer(NAMES.__getitem__)


numbers = st.integers(0, 1 << 20).map(str)
expressions = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "&", "|", "^"]), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        inner.map("~{}".format),
    ),
    max_leaves=5,
)


@given(expressions)
def test_precedence_is_pythons(text: str) -> None:
    assert value(text) == eval(text)


@given(st.text(alphabet="0123456789abxr'+-*/%&|^~()<>. _\\\n", max_size=20))
def test_any_text_gives_a_value_or_assembly_error(text: str) -> None:
    try:
        result = parse(text).evaluate(lambda _name: 7)
    except AssemblyError:
        return
    assert isinstance(result.constant, int)
    assert re.search(r"\w|'.'", text)  # a number or a character
