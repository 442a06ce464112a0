"""Closes `pytest bench` with its tables: the headline, how cost grows, and the single operations with their shapes."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench import shape_rules
from bench.growth import GROWN, growth_table
from bench.headline import headline
from bench.measure import MEASURED
from bench.shapes import figures_of_nano, judge
from bench.test_nano import NANO
from pv.report.comparison import WIDTH
from pv.report.nano import nano_table
from pv.report.shapes import shape_lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, if anything was."""
    if MEASURED:
        terminalreporter.ensure_newline()
        Console(width=100).print(headline(MEASURED))
    if GROWN:
        terminalreporter.ensure_newline()
        Console(width=100).print(growth_table(GROWN))
    if NANO:
        terminalreporter.ensure_newline()
        verdicts = judge(shape_rules.NANO, figures_of_nano(NANO))
        Console(width=WIDTH).print(nano_table(NANO, WIDTH), "", shape_lines(verdicts, WIDTH))
