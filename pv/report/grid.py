"""A table whose columns stand in groups, a group a technique: text lines, and how wide they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

GAP: Final = 1  # between the columns of a group
GROUP_GAP: Final = 3
RULE: Final = "─"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text and how it is shown."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A heading over columns with headings of their own. rows: for each row, a Cell a column."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def widths(self) -> list[int]:
        """Characters of each column; the first also takes what the heading needs beyond them."""
        widths = [
            max(len(column), *(len(row[at].text) for row in self.rows)) if self.rows else len(column)
            for at, column in enumerate(self.columns)
        ]
        widths[0] += max(0, len(self.heading) - (sum(widths) + GAP * (len(widths) - 1)))
        return widths


def grid_width(labels: Sequence[str], groups: Sequence[Group]) -> int:
    """Characters of a line of `grid`."""
    inside = [sum(widths) + GAP * (len(widths) - 1) for widths in (group.widths() for group in groups)]
    return max(map(len, labels), default=0) + sum(GROUP_GAP + width for width in inside)


def grid(label_heading: str, labels: Sequence[str], groups: Sequence[Group], breaks: Sequence[int] = ()) -> Text:
    """The lines: two of headings, a rule, and one a label. breaks: indices of rows that a rule stands before."""
    first = max(len(label_heading), *map(len, labels)) if labels else len(label_heading)
    shape = [group.widths() for group in groups]
    total = first + sum(GROUP_GAP + sum(widths) + GAP * (len(widths) - 1) for widths in shape)
    text = Text(no_wrap=True)
    text.append(" " * first)
    for group, widths in zip(groups, shape, strict=True):
        text.append(" " * GROUP_GAP + group.heading.rjust(sum(widths) + GAP * (len(widths) - 1)), "bold")
    text.append("\n" + label_heading.ljust(first), "bold")
    for group, widths in zip(groups, shape, strict=True):
        pairs = zip(group.columns, widths, strict=True)
        text.append(" " * GROUP_GAP + (" " * GAP).join(heading.rjust(width) for heading, width in pairs), "dim")
    for index, label in enumerate(labels):
        if index == 0 or index in breaks:
            text.append("\n" + RULE * total, "dim")
        text.append("\n" + label.ljust(first), "bold")
        for group, widths in zip(groups, shape, strict=True):
            for at, (cell, width) in enumerate(zip(group.rows[index], widths, strict=True)):
                text.append(" " * (GAP if at else GROUP_GAP))
                text.append(cell.text.rjust(width), cell.style)
    return text


UNITS: Final = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns"))


def short_time(ns: float) -> str:
    """`ns` in at most six characters: 790us, 61.1us, 14ns."""
    for size, unit in UNITS:
        if ns >= size * 0.9995:
            value = ns / size
            return (f"{value:.0f}" if value >= 99.95 or unit == "ns" else f"{value:.1f}") + unit
    return f"{ns:.1f}ns"


def short_count(count: float) -> str:
    """A count an operation in at most five characters; a whole number has no point, and is exact."""
    if count < 9995 and count == int(count):
        return f"{count:.0f}"
    return f"{count:.2f}" if count < 9.995 else f"{count:.1f}" if count < 99.95 else f"{count:,.0f}"
