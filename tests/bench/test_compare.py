"""The harness: names are checked, pairs do the same number of operations, medians count, results are compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import bench.compare as harness
from bench.compare import PACKAGES, WORKLOADS, Run, UnknownName, check_names, compare, find_workload
from pv.report.comparison import WELL, as_json
from pv.techniques import TECHNIQUES


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Workloads made by hand: their images are their names. Gives what was built."""
    asked: list[tuple[str, str, int]] = []

    def find(name: str, technique: str) -> SimpleNamespace:
        def build(operations: int) -> bytes:
            asked.append((name, technique, operations))
            return f"{name} {technique}".encode()

        return SimpleNamespace(NAME=name, OPERATION=f"one {name}", DEFAULT_OPERATIONS=100, build=build)

    monkeypatch.setattr(harness, "find_workload", find)
    return asked


def answer(monkeypatch: pytest.MonkeyPatch, runs: dict[str, Iterator[Run]]) -> None:
    """Let each technique's runs come from `runs` instead of a machine."""
    monkeypatch.setattr(harness, "run_once", lambda _image, technique: next(runs[technique]))


def well(seconds: float = 1.0, text: str = "result 7\n") -> Run:
    return Run(seconds, {"VMCALL": 3, "HLT": 1}, text, WELL)


def test_every_technique_has_a_package_of_guests() -> None:
    assert tuple(PACKAGES) == tuple(TECHNIQUES)
    assert {name for name, package in PACKAGES.items() if package == "guest_sdk.workloads"} == {"paravirt"}


def test_names_default_to_all_and_keep_their_order() -> None:
    assert check_names("workload", (), WORKLOADS) == WORKLOADS
    assert check_names("workload", ("map", "clock", "map"), WORKLOADS) == ("map", "clock")


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match=r"no workload is called 'mop'; there are console, clock, timer"):
        compare(["mop"])
    with pytest.raises(UnknownName, match="no technique is called 'magic'; there are paravirt, trap"):
        compare(["map"], ["magic"])


def test_both_halves_do_the_same_work(built: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {name: iter([well()]) for name in PACKAGES})
    rows = compare(["map"], scale=2.5, repeat=1)
    assert built == [("map", name, 250) for name in PACKAGES]
    assert [(row.technique, row.operations, row.exits, row.agrees) for row in rows] == [
        (name, 250, 4, True) for name in PACKAGES
    ]


@pytest.mark.usefixtures("built")
def test_the_median_of_the_repeats_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"trap": iter([well(9.0), well(2.0), well(3.0)])})
    (row,) = compare(["map"], ["trap"], repeat=3)
    assert (row.seconds, row.repeats, row.agrees) == (3.0, 3, None)


@pytest.mark.usefixtures("built")
def test_other_results_do_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"paravirt": iter([well()]), "trap": iter([well(text="result 8\n")])})
    rows = compare(["map"], ["paravirt", "trap"], repeat=1)
    assert [(row.result, row.agrees) for row in rows] == [("result 7", False), ("result 8", False)]


@pytest.mark.usefixtures("built")
def test_a_guest_that_fails_agrees_with_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Run(0.1, {}, "", "unhandled exit")
    answer(monkeypatch, {"paravirt": iter([well()]), "trap": iter([failed])})
    rows = compare(["map"], ["paravirt", "trap"], repeat=1)
    assert [(row.ended, row.agrees) for row in rows] == [(WELL, False), ("unhandled exit", False)]


@pytest.mark.usefixtures("built")
def test_techniques_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {name: iter([well(), well()]) for name in PACKAGES})
    seen: list[str] = []
    compare(["map"], repeat=2, on_run=lambda _workload, technique: seen.append(technique))
    assert seen == [*PACKAGES, *PACKAGES]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pair_prints_one_result(name: str) -> None:
    operations = find_workload(name, "paravirt").DEFAULT_OPERATIONS
    rows = compare([name], scale=20 / operations, repeat=1)
    assert [(row.technique, row.ended, row.agrees) for row in rows] == [(each, WELL, True) for each in PACKAGES]
    assert all(row.result.startswith("result ") for row in rows)


@pytest.mark.parametrize("technique", PACKAGES)
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_says_what_it_is(name: str, technique: str) -> None:
    workload = find_workload(name, technique)
    assert name == workload.NAME
    assert workload.OPERATION
    assert workload.DEFAULT_OPERATIONS > 0


def test_json_of_a_real_run_has_the_promised_names_and_types() -> None:
    """The document that `pvkit compare --json` writes: others read it by these names."""
    promised = {
        "workload": str,
        "technique": str,
        "engine": str,
        "operations": int,
        "exits": int,
        "exits_by_reason": dict,
        "seconds": float,
        "result": str,
        "agrees": bool,
    }
    document = json.loads(json.dumps(as_json(compare(["interrupt-flag"], scale=1e-5, repeat=1))))
    assert [row["technique"] for row in document["rows"]] == list(PACKAGES)
    for row in document["rows"]:
        assert {name: type(row[name]) for name in promised} == promised
        assert sum(row["exits_by_reason"].values()) == row["exits"]
        assert all(type(count) is int for count in row["exits_by_reason"].values())
