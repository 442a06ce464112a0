"""The comparison's table and JSON say what the rows say."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console

from pv.report.comparison import ComparisonRow, as_json, comparison_table, ratio_style, ratios, shares, verdict

TRAP = ComparisonRow(
    workload="map",
    technique="trap",
    engine="unicorn",
    operation="map, touch, unmap a page",
    operations=1000,
    exits=4000,
    exits_by_reason={"INVLPG": 1000, "EXCEPTION_NMI": 3000},
    seconds=0.004,
    repeats=3,
    result="result 7",
    ended="exited",
    agrees=True,
)
PARAVIRT = dataclasses.replace(TRAP, technique="paravirt", exits=2000, exits_by_reason={"VMCALL": 2000}, seconds=0.001)


def text_of(rows: list[ComparisonRow], width: int = 132) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(comparison_table(rows, width))
    return out.getvalue()


def test_costs_are_per_operation() -> None:
    assert TRAP.ns_per_operation == pytest.approx(4000)
    assert TRAP.exits_per_operation == 4


def test_ratio_is_to_trap_of_the_same_workload() -> None:
    other = dataclasses.replace(PARAVIRT, workload="clock")
    assert ratios([PARAVIRT, TRAP, other]) == [pytest.approx(0.25), 1.0, None]


def test_json_rows_have_what_was_promised() -> None:
    (row,) = json.loads(json.dumps(as_json([TRAP])))["rows"]
    promised = {
        "workload",
        "technique",
        "engine",
        "operations",
        "exits",
        "exits_by_reason",
        "seconds",
        "result",
        "agrees",
    }
    assert promised <= row.keys()
    assert row["exits_by_reason"] == {"INVLPG": 1000, "EXCEPTION_NMI": 3000}


def test_shares_rank_the_first_three() -> None:
    assert shares({"A": 1, "B": 6, "C": 2, "D": 1}) == "B 60%, C 20%, A 10%"
    assert shares({"A": 999, "B": 1}) == "A 100%"
    assert shares({}) == "-"


def test_shares_end_where_the_room_does() -> None:
    counts = {"A": 1, "B": 6, "C": 2, "D": 1}
    assert shares(counts, 13) == "B 60%, C 20%"
    assert shares(counts, 11) == "B 60%"
    assert shares(counts, 0) == "B 60%"


def test_table_shows_each_row() -> None:
    text = text_of([PARAVIRT, TRAP])
    assert text.count("map ") == 1, "a workload is named once, its techniques stand under it"
    for part in ("paravirt", "trap", "2,000", "4,000", "0.25", "VMCALL 100%", "median of 3"):
        assert part in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "agrees"),
        ({"agrees": False}, "differs"),
        ({"agrees": None}, "-"),
        ({"ended": "time budget used up", "agrees": False}, "time budget used up"),
    ],
)
def test_verdict_says_how_it_went(change: dict[str, object], expected: str) -> None:
    assert expected in verdict(dataclasses.replace(TRAP, **change))


@pytest.mark.parametrize(
    ("width", "there", "absent"),
    [
        (132, ["EXCEPTION_NMI 75%, INVLPG 25%", "exits/op", "ns/op"], []),
        (75, ["EXCEPTION_NMI 75%", "exits/op", "ns/op"], ["INVLPG"]),
        (50, ["exits/op", "ns/op", "0.250"], ["exit reasons"]),
        (40, ["ns/op", "exits", "0.250"], ["exits/op"]),
        (34, ["exits", "ratio", "0.250"], ["ns/op  "]),
    ],
)
def test_columns_that_do_not_fit_are_left_out_whole(width: int, there: list[str], absent: list[str]) -> None:
    text = text_of([PARAVIRT, TRAP], width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert [part for part in there if part not in text] == []
    assert [part for part in absent if part in text] == []


def test_results_have_a_column_where_one_is_wrong() -> None:
    assert "all results agree" in text_of([PARAVIRT, TRAP])
    wrong = text_of([dataclasses.replace(PARAVIRT, agrees=False), TRAP])
    assert "differs" in wrong
    assert "all results agree" not in wrong
    assert "all results agree" not in text_of([dataclasses.replace(TRAP, agrees=None)])


@pytest.mark.parametrize(("ratio", "style"), [(0.5, "green"), (0.97, ""), (1.2, "red"), (None, "")])
def test_a_ratio_that_says_something_is_coloured(ratio: float | None, style: str) -> None:
    assert ratio_style(PARAVIRT, ratio) == style
    assert ratio_style(TRAP, ratio) == ""
