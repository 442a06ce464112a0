"""Which shapes of the literature hold in a run, as lines to read and as JSON. Values only: bench.shapes rules."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from rich.text import Text

HOLDS, FAILS = "holds", "does not hold"
LEAST_WIDTH: Final = 40
INDENT: Final = 15


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, who made it, what this run measured for it. reason: why not, where it does not hold; else empty."""

    claim: str
    source: str
    measure: str
    figures: str
    holds: bool
    reason: str


def shapes_as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """A Verdict's fields by their names."""
    return [dataclasses.asdict(verdict) for verdict in verdicts]


def shape_lines(verdicts: Sequence[Verdict], width: int) -> Text:
    """What holds and what does not: the claim, the figures, and the reason where one is due; `width` characters.

    Verdicts of one claim, alike and in a row, stand together.
    """
    held = sum(verdict.holds for verdict in verdicts)
    text = Text(f"Shapes of the literature, by this run's figures: {held} of {len(verdicts)} hold", "bold")
    room = max(LEAST_WIDTH, width) - INDENT
    margin = "\n" + " " * INDENT
    for (claim, source, holds, reason), alike in groupby(
        verdicts, key=lambda one: (one.claim, one.source, one.holds, one.reason)
    ):
        figures = "; ".join(verdict.figures for verdict in alike)
        text.append(f"\n{HOLDS if holds else FAILS:<{INDENT}}", "green" if holds else "yellow")
        first, *others = textwrap.wrap(f"{claim} ({source}): {figures}", room, break_on_hyphens=False)
        text.append(margin.join([first, *others]))
        if not holds:
            text.append(margin + margin.join(textwrap.wrap(f"since {reason}", room, break_on_hyphens=False)), "dim")
    return text


def shapes_as_markdown(verdicts: Sequence[Verdict]) -> str:
    """The same as a Markdown table: a line a verdict."""
    lines = [["shape", "source", "figures", "here"], ["---"] * 4]
    for verdict in verdicts:
        here = HOLDS if verdict.holds else f"{FAILS}: {verdict.reason}"
        lines.append([verdict.claim, verdict.source, verdict.figures, here])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
