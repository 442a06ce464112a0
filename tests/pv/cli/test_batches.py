"""`pvkit batches`: the table, the files, and one line for each mistake."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import pv.cli.batches as command
from bench.batches import BATCHES, Batch, Priced
from pv.cli import main


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Rows that cost nothing to price; what was asked for."""
    asked: list[tuple[str, int]] = []

    def price(batch: Batch, disk: Path, repeat: int) -> Priced:
        assert disk.stat().st_size
        asked.append((batch.name, repeat))
        return Priced(batch, 1500.0 / batch.size, 1)

    monkeypatch.setattr(command, "price", price)
    return asked


def test_every_row_is_priced_and_shown(quick: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batches", "--repeat", "2"]) == 0
    assert quick == [(batch.name, 2) for batch in BATCHES]
    out, err = capsys.readouterr()
    assert "multicall" in out
    assert "GB/s" in out
    assert err == ""


def test_json_to_stdout_and_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batches", "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert main(["batches", "--json", str(tmp_path / "rows.json")]) == 0
    assert json.loads((tmp_path / "rows.json").read_text(encoding="utf-8")) == printed
    assert [row["size"] for row in printed] == [batch.size for batch in BATCHES]


@pytest.mark.parametrize("suffix", command.FORMATS)
def test_a_picture(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed: pip install 'pvkit[plot]'")
    assert main(["batches", "--plot", str(tmp_path / f"batches{suffix}")]) == 0
    assert (tmp_path / f"batches{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--repeat", "0"], "--repeat 0 is less than 1"),
        (["--plot", "picture.txt"], "cannot draw picture.txt: a name that ends in .svg, .png, .pdf"),
        (["--plot", "nowhere/picture.svg"], "cannot write nowhere/picture.svg: No such file or directory"),
        (["--json", "nowhere/rows.json"], "cannot write nowhere/rows.json: No such file or directory"),
    ],
)
def test_mistakes_cost_no_run(
    quick: list[tuple[str, int]], capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["batches", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pvkit: {says}")
    assert quick == []


def test_no_matplotlib_is_one_line(
    quick: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["batches", "--plot", str(tmp_path / "a.svg")]) == 2
    assert capsys.readouterr().err == "pvkit: a plot needs matplotlib: pip install 'pvkit[plot]'\n"
    assert quick == []
