"""Closes `pytest bench` with its two tables: the headline, and how cost grows."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.growth import GROWN, growth_table
from bench.headline import headline
from bench.measure import MEASURED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, if anything was."""
    if MEASURED:
        terminalreporter.ensure_newline()
        Console(width=100).print(headline(MEASURED))
    if GROWN:
        terminalreporter.ensure_newline()
        Console(width=100).print(growth_table(GROWN))
