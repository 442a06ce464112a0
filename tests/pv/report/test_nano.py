"""The nanobenchmarks' table: a line a row, exits exact, reasons below, and it fits."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from pv.report.nano import NanoCell, nano_as_json, nano_markdown, nano_table, places_of

TECHNIQUES = ("paravirt", "trap", "hardware", "hardware-apicv")
CELLS = [
    NanoCell("in", "one", "IN", "native", operations=10, seconds=3e-7, repeats=3),
    NanoCell("in", "one", "IN", "paravirt", "no call"),
    *(
        NanoCell("in", "one", "IN", name, operations=10, exits_per_operation=1.0, seconds=1.234e-5, repeats=3)
        for name in TECHNIQUES[1:]
    ),
    *(
        NanoCell("first touch", "two", "touch", name, operations=10, exits_per_operation=count, seconds=1e-4, repeats=3)
        for name, count in zip(("native", *TECHNIQUES), (0, 3 + 1 / 64, 4 + 1 / 64, 0, 0), strict=True)
    ),
    *(NanoCell("ipi", "two", "send", name, "one processor") for name in ("native", *TECHNIQUES)),
]


def text_of(width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(nano_table(CELLS, width))
    return out.getvalue()


def test_exits_are_exact_and_native_has_none() -> None:
    lines = text_of(120).splitlines()
    (row,) = (line for line in lines if line.startswith("in "))
    assert row.split() == ["in", "30", "-", "1", "1,234", "1", "1,234", "1", "1,234"]
    (row,) = (line for line in lines if line.startswith("first touch"))
    assert row.split()[2:] == ["10,000", "3.02", "10,000", "4.02", "10,000", "0", "10,000", "0", "10,000"]


def test_what_is_nowhere_is_only_said() -> None:
    lines = text_of(120).splitlines()
    assert "- nowhere: ipi: one processor" in lines
    assert "- paravirt: in: no call" in lines
    assert not any(line.startswith("ipi") for line in lines)


@pytest.mark.parametrize("width", [120, 80, 70])
def test_it_fits(width: int) -> None:
    assert max(map(len, text_of(width).splitlines())) <= width
    assert ("12,34" in text_of(width) or "1,234" in text_of(width)) == (width == 120)


def test_json_and_markdown() -> None:
    assert json.loads(json.dumps(nano_as_json(CELLS)))[1]["reason"] == "no call"
    assert nano_markdown(CELLS).splitlines()[2] == "| in | IN | 30 | - | 1, 1,234 | 1, 1,234 | 1, 1,234 |"


def test_places_have_the_shorter_name() -> None:
    every = ("native", "paravirt", "trap", "hardware")
    assert places_of(every, every) == "nowhere"
    assert places_of(("native", "trap", "hardware"), every) == "all but paravirt"
    assert places_of(("paravirt",), every) == "paravirt"
