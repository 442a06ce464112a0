"""docs/errata.md has the errata that the tests hold, and no others."""

from __future__ import annotations

from pathlib import Path

from tests.differential.errata import ERRATA
from tests.differential.privileged_errata import ERRATA as PRIVILEGED_ERRATA
from tests.differential.segment_errata import ERRATA as SEGMENT_ERRATA

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errata.md"


def page() -> str:
    """The table as the page has it."""
    rows = [f"| {erratum.manual} | {erratum.name} |" for erratum in (*ERRATA, *PRIVILEGED_ERRATA, *SEGMENT_ERRATA)]
    return "\n".join(("| Intel's SDM | here |", "| --- | --- |", *rows)) + "\n"


def test_the_page_has_the_list() -> None:
    assert page() in PAGE.read_text(encoding="utf-8")


def test_names_differ() -> None:
    names = [erratum.name for erratum in (*ERRATA, *PRIVILEGED_ERRATA, *SEGMENT_ERRATA)]
    assert len(set(names)) == len(names)
