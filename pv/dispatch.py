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
FOUND_MOST: Final = 256  # answers of find() that are kept: a guest may ask for any key


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
    user_allowed: whether CPL 3 may ask (Shape.CALL); otherwise it gets -EPERM. batchable: whether a multicall or a ring
    may make it; -EINVAL where not, as for a call that moves the guest's control flow.
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
    batchable: bool = True

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"{self.owner}: key range {self.first:#x}-{self.last:#x} is empty")


class Collision(ValueError):
    """Two parties claim one key."""


class DispatchTable:
    """Rows by reason. A Row of Shape.READ and one of Shape.WRITE may share keys: IN and OUT of one port."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: list[Row] = []
        # Keyed by plain integers: a machine is made of some 150 rows, and hashing an enum member runs Python.
        self._single: dict[int, list[Row]] = {}  # rows of one key, nearly all of a table: reason << 64 | key
        self._ranges: dict[int, list[Row]] = {}  # by reason
        self._found: dict[int, Row | None] = {}  # what find() answered of late, for handlers that ask on an exit
        self.version = 0
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Register `row`. Raises Collision, naming both owners, where keys overlap."""
        reason, first = row.reason + 0, row.first
        single = first == row.last
        neighbours = self._ranges.get(reason)
        if neighbours:
            refuse_overlap(row, neighbours)
        if single:
            rows = self._single.setdefault(reason << 64 | first + 1, [])
            if rows:
                refuse_overlap(row, rows)
        else:
            refuse_overlap(row, (other for other in self._rows if other.reason == reason and other.first == other.last))
            rows = self._ranges.setdefault(reason, [])
        rows.append(row)
        self._rows.append(row)
        self._found.clear()
        self.version += 1

    def find(self, reason: Reason, key: int, shape: Shape | None = None) -> Row | None:
        """The row that answers (reason, key), the reason's ANY_KEY row failing that, else None."""
        at = reason + 0 << 64 | key + 1
        if shape is None and at in self._found:
            return self._found[at]
        row = self._search(reason + 0, key, shape)
        if shape is None:
            if len(self._found) >= FOUND_MOST:
                self._found.clear()
            self._found[at] = row
        return row

    def _search(self, number: int, key: int, shape: Shape | None) -> Row | None:
        for rows in (self._single.get(number << 64 | key + 1, ()), self._ranges.get(number, ())):
            for row in rows:
                if row.first <= key <= row.last and shape in (None, row.shape):
                    return row
        defaults = self._single.get(number << 64 | ANY_KEY + 1, ())
        return next((row for row in defaults if shape in (None, row.shape)), None)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)


def refuse_overlap(row: Row, others: Iterable[Row]) -> None:
    """Raises Collision where `row` and one of `others`, all of its reason, claim a common key."""
    for other in others:
        if overlaps(row, other):
            raise Collision(
                f"{row.reason.name} {key_range(row)} is claimed by {other.owner} "
                f"({other.name or 'unnamed'}) and by {row.owner} ({row.name or 'unnamed'})"
            )


def overlaps(one: Row, other: Row) -> bool:
    """Whether two rows of one reason claim a common key in a common direction."""
    if one.first > other.last or other.first > one.last:
        return False
    return {one.shape, other.shape} != {Shape.READ, Shape.WRITE}


def key_range(row: Row) -> str:
    """The row's keys as text, in hex."""
    if row.first == ANY_KEY:
        return "any key"
    return f"{row.first:#x}" if row.first == row.last else f"{row.first:#x}-{row.last:#x}"
