"""The closing table: twins stand together, the reference last, and each ratio is to the group's own reference."""

from __future__ import annotations

import io

from rich.console import Console

from bench.headline import Measured, headline


def lines_of(rows: list[Measured]) -> list[list[str]]:
    out = io.StringIO()
    Console(file=out, width=100).print(headline(rows))
    return [line.replace("│", " ").split() for line in out.getvalue().splitlines() if "│" in line]


def test_ratio_is_the_bindings_time_over_ours() -> None:
    rows = [Measured("cli", "binding", 1, 5000.0), Measured("cli", "trap", 1, 500.0)]
    assert lines_of(rows) == [["cli", "trap", "1", "500.0", "10"], ["cli", "binding", "1", "5,000.0", "-"]]


def test_a_group_without_a_reference_has_no_ratio() -> None:
    assert lines_of([Measured("rdmsr", "trap", 1, 300.0)]) == [["rdmsr", "trap", "1", "300.0", "-"]]


def test_twins_stand_together_in_the_order_of_their_groups() -> None:
    rows = [Measured("b", "trap", 1, 1.0), Measured("a", "trap", 1, 1.0), Measured("b", "paravirt", 0, 1.0)]
    assert [line[:2] for line in lines_of(rows)] == [["b", "trap"], ["b", "paravirt"], ["a", "trap"]]
