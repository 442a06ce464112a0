"""The one table: reason, key range, handler. Collisions are refused here, never found at run time.

The engine compiles the table when a machine binds it; nothing in this file runs on an exit.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pv.exits import Reason

ANY_KEY: Final = -1


class Shape(enum.IntEnum):
    """How a handler is called, and what it may return."""

    EXIT = 0  # handler(exit) -> Reply
    CALL = 1  # handler(*arguments) -> int | Reply; GuestError becomes a negated errno
    READ = 2  # handler(offset, size) -> int | Reply
    WRITE = 3  # handler(offset, size, value) -> Reply | None
    NATIVE = 4  # a function of the engine itself


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: keys first..last of `reason` go to `handler`.

    argument_bits: for Shape.CALL, the width of each register argument; a wider value is -EINVAL.
    user_allowed: whether CPL 3 may ask (Shape.CALL); otherwise it gets -EPERM.
    owner: who registered it, for collision messages.
    """

    reason: Reason
    first: int
    last: int
    handler: Callable[..., Any]
    owner: str
    name: str = ""
    shape: Shape = Shape.EXIT
    argument_bits: tuple[int, ...] = ()
    user_allowed: bool = False

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"{self.owner}: key range {self.first:#x}-{self.last:#x} is empty")


class Collision(ValueError):
    """Two parties claim one key."""


class DispatchTable:
    """Rows by reason. A Row of Shape.READ and one of Shape.WRITE may share keys: IN and OUT of one port."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: list[Row] = []
        self._single: dict[tuple[int, int], list[Row]] = {}  # rows of one key: nearly all of a table
        self._ranges: dict[int, list[Row]] = {}
        self.version = 0
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Register `row`. Raises Collision, naming both owners, where keys overlap."""
        for other in self._neighbours(row):
            if overlaps(row, other):
                raise Collision(
                    f"{row.reason.name} {key_range(row)} is claimed by {other.owner} "
                    f"({other.name or 'unnamed'}) and by {row.owner} ({row.name or 'unnamed'})"
                )
        if row.first == row.last:
            self._single.setdefault((row.reason, row.first), []).append(row)
        else:
            self._ranges.setdefault(row.reason, []).append(row)
        self._rows.append(row)
        self.version += 1

    def _neighbours(self, row: Row) -> Iterator[Row]:
        yield from self._ranges.get(row.reason, ())
        if row.first == row.last:
            yield from self._single.get((row.reason, row.first), ())
        else:
            yield from (other for other in self._rows if other.reason == row.reason and other.first == other.last)

    def find(self, reason: Reason, key: int, shape: Shape | None = None) -> Row | None:
        """The row that answers (reason, key), the reason's ANY_KEY row failing that, else None."""
        for rows in (self._single.get((reason, key), ()), self._ranges.get(reason, ())):
            for row in rows:
                if row.first <= key <= row.last and shape in (None, row.shape):
                    return row
        defaults = self._single.get((reason, ANY_KEY), ())
        return next((row for row in defaults if shape in (None, row.shape)), None)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)


def overlaps(one: Row, other: Row) -> bool:
    """Whether two rows of one reason claim a common key in a common direction."""
    if {one.shape, other.shape} == {Shape.READ, Shape.WRITE}:
        return False
    return one.first <= other.last and other.first <= one.last


def key_range(row: Row) -> str:
    """The row's keys as text, in hex."""
    if row.first == ANY_KEY:
        return "any key"
    return f"{row.first:#x}" if row.first == row.last else f"{row.first:#x}-{row.last:#x}"
