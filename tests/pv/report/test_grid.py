"""Columns in groups: every line as wide as the others, headings over what they head, short figures short."""

from __future__ import annotations

import pytest

from pv.report.grid import Cell, Group, grid, grid_width, short_count, short_time

GROUPS = [
    Group("a long heading", ("x",), [[Cell("1")], [Cell("22")]]),
    Group("t", ("exits", "ns"), [[Cell("3.02"), Cell("1,234")], [Cell(""), Cell("-")]]),
]


def test_lines_are_of_one_width() -> None:
    lines = grid("row", ["one", "another"], GROUPS, breaks=[1]).plain.splitlines()
    assert {len(line) for line in lines} == {grid_width(["row", "one", "another"], GROUPS)}
    assert lines[0].endswith(" t")
    assert lines[1].split() == ["row", "x", "exits", "ns"]
    assert lines[3].split() == ["one", "1", "3.02", "1,234"]
    assert set(lines[2]) == set(lines[4]) == {"─"}


def test_cells_keep_their_style() -> None:
    text = grid("row", ["one"], [Group("t", ("x",), [[Cell("1", "green")]])])
    assert [span.style for span in text.spans if text.plain[span.start : span.end] == "1"] == ["green"]


def test_no_rows_is_no_fault() -> None:
    assert grid("row", [], [Group("t", ("x",), [])]).plain.splitlines()[1].split() == ["row", "x"]


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0.3, "0.3ns"), (14, "14ns"), (999.4, "999ns"), (999.9, "1.0us"), (61_126, "61.1us"), (790_520, "791us"),
     (2.5e6, "2.5ms"), (3e9, "3.0s")],
)  # fmt: skip
def test_a_time_is_short(ns: float, text: str) -> None:
    assert short_time(ns) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0.0, "0"), (2.0, "2"), (0.0004, "0.00"), (3.016, "3.02"), (96.01, "96.0"), (2064.24, "2,064")],
)
def test_a_count_is_short_and_a_whole_one_exact(count: float, text: str) -> None:
    assert short_count(count) == text
