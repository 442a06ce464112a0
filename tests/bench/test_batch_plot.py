"""The table and the picture of the batches' prices."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench import batch_plot
from bench.batch_plot import NoPlot, as_json, busy_exits, check_plot, draw, price_table
from bench.batches import BATCHES, Priced

PRICES = [Priced(batch, 1000.0 / batch.size, 1) for batch in BATCHES]


def test_table() -> None:
    printed = io.StringIO()
    Console(width=80, file=printed).print(price_table(PRICES))
    lines = printed.getvalue().splitlines()
    (line,) = [line for line in lines if "block read" in line and "ring" in line and "512" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "block read",
        "ring",
        "512",
        "0.001953",
        "2",
        "2097.15",
    ]
    assert sum("null call" in line for line in lines) == len(PRICES) // 2


def test_json() -> None:
    rows = as_json(PRICES)
    assert len(rows) == len(PRICES)
    assert rows[0] == {
        "operation": "null call",
        "form": "alone",
        "size": 1,
        "exits_per_operation": 1.0,
        "ns_per_operation": 1000.0,
        "gigabytes_per_second": None,
    }


def test_a_busy_ring_s_exits_are_those_beyond_the_guest_s_own() -> None:
    assert busy_exits(PRICES) == 0
    assert busy_exits([]) is None
    more = [Priced(priced.batch, 1.0, 2 if priced.batch.form == "busy ring" else 1) for priced in PRICES]
    assert busy_exits(more) == 1


@pytest.mark.parametrize("prices", [PRICES, PRICES[:3], []], ids=["all", "few", "none"])
def test_picture(tmp_path: Path, prices: list[Priced]) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed: pip install 'pvkit[plot]'")
    draw(prices, tmp_path / "batches.svg")
    assert "<svg" in (tmp_path / "batches.svg").read_text(encoding="utf-8")


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for act in (check_plot, lambda: draw(PRICES, tmp_path / "batches.svg")):
        with pytest.raises(NoPlot, match=r"pip install 'pvkit\[plot\]'"):
            act()
    assert batch_plot.INSTALL.count("\n") == 0
    assert list(tmp_path.iterdir()) == []
