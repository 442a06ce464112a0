"""Bytes as a source of choices: what a random guest is made of, whoever drew the bytes.

Hypothesis draws them in the test suite and shrinks them; a seeded generator draws them in a long run. A genome that is
used up gives zeroes, so a shorter one is a simpler guest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Genome:
    """Reads choices from `data`."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def used_up(self) -> bool:
        return self.at >= len(self.data)

    def number(self, size_bytes: int = 1) -> int:
        """The next bytes as an unsigned integer."""
        piece = self.data[self.at : self.at + size_bytes]
        self.at += size_bytes
        return int.from_bytes(piece, "little")

    def bytes(self, size_bytes: int) -> bytes:
        piece = self.data[self.at : self.at + size_bytes]
        self.at += size_bytes
        return piece.ljust(size_bytes, b"\0")

    def choose(self, choices: Sequence[T]) -> T:
        """One of at most 65536 `choices`."""
        return choices[self.number(1 if len(choices) <= 256 else 2) % len(choices)]

    def chance(self, in_256: int) -> bool:
        """True in so many of 256 cases; a genome used up says False."""
        return self.number() >= 256 - in_256
