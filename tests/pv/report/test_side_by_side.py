"""The comparison with a line a workload: it fits 120 and 80 columns with four techniques, and marks what is wrong."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from pv.report.comparison import WELL, ComparisonRow
from pv.report.side_by_side import markdown, side_by_side

TECHNIQUES = ("paravirt", "trap", "hardware", "hardware-apicv")
EXITS = {"IO_INSTRUCTION": 2_064_240}
DISK = ComparisonRow("disk", "trap", "unicorn", "read a block", 1000, 2_064_240, EXITS, 0.79, 3, "result 7", WELL, True)
CLOCK = dataclasses.replace(DISK, workload="clock", exits=7, seconds=1.4e-5, operation="read the time")
ROWS = [dataclasses.replace(row, technique=name) for row in (CLOCK, DISK) for name in TECHNIQUES]


def text_of(rows: list[ComparisonRow], width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(side_by_side(rows, width))
    return out.getvalue()


def test_a_line_has_exits_and_time_of_each_technique() -> None:
    lines = text_of(ROWS, 120).splitlines()
    assert lines[2].split() == [*TECHNIQUES]
    (disk,) = (line for line in lines if line.startswith("disk"))
    assert disk.split() == ["disk", *["2,064.24", "790,000"] * 4]
    assert "all results agree" in lines[-1]


@pytest.mark.parametrize("width", [132, 120, 80])
def test_it_fits(width: int) -> None:
    text = text_of(ROWS, width)
    assert max(map(len, text.splitlines())) <= width
    assert len([line for line in text.splitlines() if line.startswith(("clock", "disk"))]) == 2


def test_short_figures_where_there_is_little_room() -> None:
    (disk,) = (line for line in text_of(ROWS, 80).splitlines() if line.startswith("disk"))
    assert disk.split() == ["disk", *["2,064", "790us"] * 4]


def test_a_terminal_too_narrow_gets_a_line_a_technique() -> None:
    text = text_of(ROWS, 50)
    assert max(map(len, text.splitlines())) <= 50
    assert len([line for line in text.splitlines() if "hardware-apicv" in line]) == 2


def test_what_differs_is_said() -> None:
    wrong = [dataclasses.replace(row, agrees=False) if row.workload == "disk" else row for row in ROWS]
    text = text_of(wrong, 132)
    assert "disk under trap differs" in " ".join(text.split())
    assert "all results agree" not in text


def test_markdown_has_a_column_pair_a_technique() -> None:
    lines = markdown(ROWS[4:6]).splitlines()
    assert lines[0] == "| job | one operation | paravirt: exits | ns | trap: exits | ns |"
    assert lines[2] == "| disk | read a block | 2,064.24 | 790,000 | 2,064.24 | 790,000 |"
