"""`pvkit compare`: its table, its JSON, its exit codes, and one line for each mistake."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import pv.cli.compare as command
from pv.cli import main
from pv.report.comparison import WELL, ComparisonRow
from pv.report.nano import NanoCell
from pv.techniques import TECHNIQUES

ROW = ComparisonRow("map", "trap", "unicorn", "map a page", 10, 40, {"INVLPG": 40}, 0.001, 3, "result 7", WELL, True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A harness made by hand: keeps what it was asked, gives asked["rows"]."""
    kept: dict[str, Any] = {"rows": [dataclasses.replace(ROW, technique="paravirt", seconds=0.0005), ROW]}

    def compare(names: tuple[str, ...], techniques: tuple[str, ...], **options: Any) -> list[ComparisonRow]:
        kept.update(names=names, techniques=techniques, **options)
        options["on_run"](names[0], techniques[0])
        rows: list[ComparisonRow] = kept["rows"]
        return rows

    monkeypatch.setattr(command.harness, "compare", compare)
    return kept


def test_all_workloads_under_all_techniques(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare"]) == 0
    assert len(asked["names"]) == 13
    assert asked["techniques"] == tuple(TECHNIQUES)
    out, error = capsys.readouterr()
    assert "all results agree" in out
    assert "Shapes of the literature, by this run's figures: 1 of 1 hold" in out
    assert error == ""


@pytest.mark.usefixtures("asked")
def test_detail_has_a_line_a_technique(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--detail"]) == 0
    out = capsys.readouterr().out
    assert "exit reasons" in out
    assert "0.500" in out


@pytest.mark.usefixtures("asked")
def test_markdown_is_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| job | one operation | paravirt: exits | ns | trap: exits | ns |"
    assert lines[4] == "| shape | source | figures | here |"


def test_single_operations_beside_the_engine_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--nano", "call/ret", "rdtsc", "ipi", "--repeat", "1", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    cells = {(cell["row"], cell["technique"]): cell for cell in document["nano"]}
    assert cells["rdtsc", "trap"]["exits_by_reason"] == {"RDTSC": 1.0}
    assert cells["call/ret", "native"]["agrees"] is True
    assert cells["ipi", "trap"]["reason"] == "a machine has one processor"
    assert "reading the shared clock takes no exit" in [shape["claim"] for shape in document["shapes"]]


def test_nano_that_differs_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cell = NanoCell("in", "s", "IN", "trap", operations=1, seconds=1e-6, result="result 7", agrees=False)
    monkeypatch.setattr(command.nano_harness, "measure_rows", lambda *_names, **_options: [cell])
    assert main(["compare", "--nano", "in"]) == 1
    assert capsys.readouterr().err == "pvkit: in under trap: differs: result 7\n"


def test_choices_reach_the_harness(asked: dict[str, Any]) -> None:
    assert main(["compare", "clock", "map", "--technique", "trap", "--scale", "0.5", "--repeat", "2"]) == 0
    assert (asked["names"], asked["techniques"]) == (("clock", "map"), ("trap",))
    assert (asked["scale"], asked["repeat"]) == (0.5, 2)


@pytest.mark.usefixtures("asked")
def test_json_goes_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert main(["compare", "--json", str(file)]) == 0
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert [row["technique"] for row in rows] == ["paravirt", "trap"]
    assert rows[1]["exits_by_reason"] == {"INVLPG": 40}


@pytest.mark.usefixtures("asked")
def test_json_to_stdout_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2


@pytest.mark.parametrize("change", [{"agrees": False}, {"ended": "triple fault", "agrees": False}])
def test_results_that_differ_are_exit_code_1(
    asked: dict[str, Any], change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked["rows"][0] = dataclasses.replace(ROW, **change)
    assert main(["compare"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pvkit: map under trap: {change.get('ended', 'differs')}: result 7")


@pytest.mark.parametrize("where", ["", "sub/rows.json", "rows.json"])
def test_a_file_that_cannot_be_written_is_told_before_minutes_are_spent(
    where: str,
    asked: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    assert main(["compare", "--json", str(tmp_path / where)]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert "names" not in asked
    assert len(error.splitlines()) == 1
    assert str(tmp_path / where) in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mop"], "no workload is called 'mop'; there are console, clock, timer"),
        (["--technique", "magic"], "no technique is called 'magic'; there are paravirt, trap"),
        (["--scale", "0"], "--scale 0 is not a number above 0"),
        (["--scale", "nan"], "--scale nan is not a number above 0"),
        (["--scale", "inf"], "--scale inf is not a number above 0"),
        (["--scale", "1e30"], "--scale 1e+30 is not a number above 0, at most 500"),
        (["--nano", "mop"], "no nanobenchmark is called 'mop'; there are syscall, in, cr8wr"),
        (["--nano", "--scale", "2"], "--nano runs each row as often as its time needs: --scale is for workloads"),
        (["--detail", "--nano"], "--detail and --nano do not go together"),
        (["--detail", "--markdown"], "--detail and --markdown do not go together"),
        (["--repeat", "0"], "--repeat 0 is less than 1"),
        (["--json", "/nowhere/at/all.json", "map"], "cannot write /nowhere/at/all.json: No such file or directory"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_a_mistake_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pvkit: {says}")
