"""Closes `pytest bench` with the headline table."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.headline import headline
from bench.measure import MEASURED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, if anything was."""
    if MEASURED:
        terminalreporter.ensure_newline()
        Console(width=100).print(headline(MEASURED))
