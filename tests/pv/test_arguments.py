"""A machine's arguments: what is of the wrong kind is told in one line, and budgets become what the engine takes."""

from __future__ import annotations

from typing import Any

import pytest

from pv.arguments import EXITS_MOST, budgets, check_arguments
from pv.console import Console

WELL: dict[str, Any] = {"memory": "1MiB", "disabled_plugins": (), "grants": None, "quotas": None, "console": None}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"memory": 1 << 20},
        {"disabled_plugins": {"a"}},
        {"grants": iter(["exit"])},
        {"quotas": {"exit": 1}},
        {"console": print},
        {"console": Console()},
    ],
)
def test_what_can_be_used_passes(change: dict[str, Any]) -> None:
    check_arguments(**{**WELL, **change})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"memory": 1.5}, "memory=1.5 is not a size"),
        ({"memory": None}, "memory=None is not a size"),
        ({"memory": True}, "memory=True is not a size"),
        ({"disabled_plugins": "clock"}, r"disabled_plugins='clock' is not a list of names; write \[...\]"),
        ({"disabled_plugins": None}, "disabled_plugins=None is not a list"),
        ({"grants": "exit"}, "grants='exit' is not a list of names"),
        ({"grants": 5}, "grants=5 is not a list of names"),
        ({"quotas": ["exit"]}, "is not a mapping"),
        ({"console": "out.txt"}, "console='out.txt' cannot take"),
    ],
)
def test_the_wrong_kind_is_told(change: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        check_arguments(**{**WELL, **change})


@pytest.mark.parametrize("bad", [0, -1, float("nan"), -float("inf")])
def test_budgets_are_above_0(bad: float) -> None:
    with pytest.raises(ValueError, match=r"timeout=.* is not above 0"):
        budgets(bad, None)
    with pytest.raises(ValueError, match="max_exits=0 is not above 0"):
        budgets(None, 0)


@pytest.mark.parametrize(
    ("timeout", "exits"), [("5", None), (True, None), (None, 1.5), (None, "9"), (None, True), ([], None)]
)
def test_budgets_are_numbers(timeout: Any, exits: Any) -> None:
    with pytest.raises(TypeError, match=r"is not a (number of seconds|whole number); leave it out"):
        budgets(timeout, exits)


def test_budgets_as_the_engine_takes_them() -> None:
    assert budgets(None, None) == (0, 0)
    assert budgets(1e-12, 5) == (1, 5)
    assert budgets(2, None) == (2_000_000_000, 0)
    assert budgets(float("inf"), None)[0] < 1 << 63
    assert budgets(None, 1 << 80) == (0, EXITS_MOST)
