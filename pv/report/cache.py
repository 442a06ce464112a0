"""What did the translation cache do? Its counts, as the section of `pvkit run --stats`. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TITLE: Final = "Translation cache"
LOOKUPS, HITS, HIT_RATE = "lookups", "lookups that hit", "hit rate"


def hit_rate(counts: Mapping[str, int]) -> float | None:
    """The share of lookups (returns, branches not chained, ways in) that found a block; None where there was none."""
    lookups = counts.get(LOOKUPS, 0)
    return counts.get(HITS, 0) / lookups if lookups else None


def format_cache(counts: Mapping[str, int]) -> str:
    """A line a count, what never happened left out, the hit rate behind the lookups."""
    cells: list[tuple[str, str]] = []
    for name, count in counts.items():
        if count:
            cells.append((name, f"{count:,}"))
        rate = hit_rate(counts) if name == HITS else None
        if rate is not None:
            cells.append((HIT_RATE, f"{rate:.2%}"))
    names, figures = (max((len(cell[side]) for cell in cells), default=0) for side in (0, 1))
    return "\n".join([TITLE, *(f"  {name:<{names}}  {figure:>{figures}}" for name, figure in cells)])
