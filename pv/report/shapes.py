"""Which shapes of the literature hold in a run, as lines to read and as JSON. Values only: bench.shapes has the rules."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """What holds and what does not: the claim, the figures, and the reason where one is due; `width` characters at most."""
    held = sum(verdict.holds for verdict in verdicts)
    text = Text(f"Shapes: {held} of {len(verdicts)} hold in this run", "bold")
    room = max(LEAST_WIDTH, width) - INDENT
    for verdict in verdicts:
        head = f"{verdict.claim} ({verdict.source}): {verdict.figures}"
        lines = textwrap.wrap(head, room)
        text.append(f"\n{HOLDS if verdict.holds else FAILS:<{INDENT}}", "green" if verdict.holds else "yellow")
        text.append(("\n" + " " * INDENT).join(lines))
        for line in textwrap.wrap(verdict.reason, room) if not verdict.holds else ():
            text.append("\n" + " " * INDENT + line, "dim")
    return text
