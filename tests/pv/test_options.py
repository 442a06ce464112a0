"""Options: what may be declared, what a value must be, and how its text is read."""

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.options import Option, find_option, parse_options, settle_options

LIMIT = Option("limit", int, default=10, least=1, most=20)
RATE = Option("rate", float, least=0)
LOUD = Option("loud", bool, default=False)
MODE = Option("mode", str, default="fast", choices=("fast", "safe"))
KNOWN = {f"store.{option.name}": option for option in (LIMIT, RATE, LOUD, MODE)}


@pytest.mark.parametrize(
    ("declare", "error", "says"),
    [
        (lambda: Option("Limit"), ValueError, "option name 'Limit' is not of a-z"),
        (lambda: Option("a.b"), ValueError, "option name"),
        (lambda: Option(7), ValueError, "option name 7"),  # type: ignore[arg-type]
        (lambda: Option("a", list), TypeError, "is not one of int, float, bool, str"),
        (lambda: Option("a", str, least=1), TypeError, "least= and most= are for numbers"),
        (lambda: Option("a", int, default="7"), ValueError, "option a='7' is not a whole number"),
        (lambda: Option("a", int, default=7, most=6), ValueError, "a=7 is not a whole number up to 6"),
        (lambda: Option("a", str, default="c", choices=("a", "b")), ValueError, "a='c' is not one of a, b"),
        (lambda: Option("a", int, choices=("1",)), ValueError, "a='1' is not"),
        (lambda: Option("a", str, choices="abc"), TypeError, "choices='abc' is no tuple"),  # type: ignore[arg-type]
        (lambda: Option("a", int, least=5, most=3), ValueError, "nothing is from 5 to 3"),
    ],
)
def test_declarations_that_could_never_hold(declare: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        declare()


@pytest.mark.parametrize(
    ("text", "option", "value"),
    [
        ("7", LIMIT, 7),
        (" 0x10 ", LIMIT, 16),
        ("0.5", RATE, 0.5),
        ("inf", RATE, math.inf),
        ("on", LOUD, True),
        ("NO", LOUD, False),
        ("safe", MODE, "safe"),
        ("a=b", Option("any", str), "a=b"),
        ("", Option("any", str), ""),
    ],
)
def test_texts_that_are_values(text: str, option: Option, value: Any) -> None:
    assert option.parse(text) == value
    assert type(option.parse(text)) is option.type


@pytest.mark.parametrize(
    ("text", "option", "says"),
    [
        ("many", LIMIT, "option store.limit='many' is not a whole number from 1 to 20"),
        ("21", LIMIT, "option store.limit=21 is not a whole number from 1 to 20"),
        ("", LIMIT, "store.limit='' is not"),
        ("1e3", LIMIT, "store.limit='1e3' is not"),
        ("9" * 5000, LIMIT, "is not a whole number"),
        ("nan", RATE, "store.rate=nan is not a number from 0 on"),
        ("maybe", LOUD, "store.loud='maybe' is not on or off"),
        ("slow", MODE, "store.mode='slow' is not one of fast, safe"),
    ],
)
def test_texts_that_are_none(text: str, option: Option, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        option.parse(text, f"store.{option.name}")


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 21])
def test_a_value_is_of_its_type_and_in_its_bounds(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a whole number from 1 to 20"):
        LIMIT.check(value)


def test_a_whole_number_is_a_number() -> None:
    assert (RATE.check(3), type(RATE.check(3))) == (3.0, float)


def test_defaults_are_filled() -> None:
    settled = settle_options({"store.limit": 3, "store.rate": None}, KNOWN)
    assert settled == {"store.limit": 3, "store.rate": None, "store.loud": False, "store.mode": "fast"}
    assert settle_options(settled, KNOWN) == settled  # a machine's options make another of its kind


def test_texts_of_a_command_line() -> None:
    assert parse_options(["store.limit=3", "store.mode=safe"], KNOWN) == {"store.limit": 3, "store.mode": "safe"}


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["store.limit"], "option 'store.limit' has no value; write store.limit=VALUE"),
        (["store.limit=1", "store.limit=2"], "option 'store.limit' is given twice"),
        (["store.limt=1"], "'store.limt' is not known; did you mean 'store.limit'.*known: store.limit, store.loud"),
        (["=1"], "option '' is not known"),
    ],
)
def test_texts_that_set_nothing(texts: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_options(texts, KNOWN)


def test_what_is_no_name_is_not_known() -> None:
    with pytest.raises(ValueError, match=r"option 7 is not known \(known: none\)"):
        find_option(7, {})


@pytest.mark.parametrize("options", [[("store.limit", 3)], "store.limit", 7])
def test_what_is_no_mapping_is_refused(options: Any) -> None:
    with pytest.raises(TypeError, match="is not a mapping"):
        settle_options(options, KNOWN)


def test_words_for_people() -> None:
    assert [option.describe() for option in (LIMIT, RATE, LOUD, MODE, Option("a", most=3))] == [
        "a whole number from 1 to 20",
        "a number from 0 on",
        "on or off",
        "one of fast, safe",
        "a whole number up to 3",
    ]
    assert [option.show(option.default) for option in (LIMIT, RATE, LOUD, MODE)] == ["10", "unset", "off", "fast"]


@given(st.sampled_from(list(KNOWN.values())), st.text())
def test_any_text_is_a_value_or_one_line(option: Option, text: str) -> None:
    with contextlib.suppress(ValueError):
        assert option.check(option.parse(text)) == option.parse(text)


@given(st.integers())
def test_whole_numbers_within_bounds_are_taken(value: int) -> None:
    if 1 <= value <= 20:
        assert LIMIT.parse(str(value)) == value
    else:
        with pytest.raises(ValueError, match="from 1 to 20"):
            LIMIT.parse(str(value))
