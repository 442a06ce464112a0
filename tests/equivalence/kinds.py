"""What may stand in a slot? A table of kinds: how often each is drawn, and what makes its code.

A kind with a `hole` is one through which HOLED must differ, named as docs/holes.md names it, and which all others have
to get right; one with an `erratum` is a deviation of the engine beneath, which techniques that run the instruction on
it cannot hide; one that `lacks` something uses what DEPRIVILEGED do not offer to their guests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

Make = Callable[[Random], "Piece"]
HOLED: Final = "trap"  # the one technique that may differ by a hole
DEPRIVILEGED: Final = frozenset({"trap", "translate"})


class Piece(NamedTuple):
    """The code of one slot. user: what runs at CPL 3, where the kernel's code leads to it."""

    kernel: bytes
    user: bytes = b""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row. weight: how often it is drawn, 1 for the rare."""

    name: str
    weight: int
    make: Make
    hole: str = ""
    erratum: str = ""
    lacks: str = ""

    def excuse(self, techniques: Sequence[str]) -> str:
        """The hole, erratum or lack by which these may differ here; empty where they must be equal."""
        lack = self.lacks if DEPRIVILEGED.intersection(techniques) else ""
        return self.erratum or lack or (self.hole if HOLED in techniques else "")


KINDS: Final[dict[str, Kind]] = {}


def kind(weight: int = 2, *, hole: str = "", erratum: str = "", lacks: str = "") -> Callable[[Make], Make]:
    """Enter a maker in the table under its function's name. Raises ValueError for a name that is there."""

    def enter(make: Make) -> Make:
        name = getattr(make, "__name__", "")
        if name in KINDS:
            raise ValueError(f"kind {name!r} is there already")
        KINDS[name] = Kind(name, weight, make, hole, erratum, lacks)
        return make

    return enter
