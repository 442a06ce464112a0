"""What does every loader make of a file? An Image: where to start, and what lies where with which rights.

Loaders read bytes and return values; nothing here knows a machine, and place() alone writes memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pv.memory import GuestMemory


class LoadError(ValueError):
    """A guest that cannot be loaded. Its text is one line: what, where, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`size_bytes` of guest memory from `gpa`: `data`, then zeroes. Always readable."""

    gpa: int
    data: bytes = field(repr=False)
    size_bytes: int
    writable: bool
    executable: bool

    @property
    def end(self) -> int:
        """The first gpa after it."""
        return self.gpa + self.size_bytes


@dataclass(frozen=True, slots=True)
class Image:
    """A guest, ready to be placed. segments do not overlap and stand in order of gpa.

    abi_version: from the note of an SDK guest, None where there is none. symbols: name to gpa.
    """

    entry: int
    segments: tuple[Segment, ...]
    abi_version: int | None = None
    symbols: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def place(self, memory: GuestMemory) -> None:
        """Copy the segments into fresh (zeroed) memory. Raises LoadError where one does not fit."""
        for segment in self.segments:
            if segment.end > memory.size_bytes:
                raise LoadError(outside(segment, memory.size_bytes))
            memory.write(segment.gpa, segment.data)


def outside(segment: Segment, memory_bytes: int) -> str:
    """The line that says that `segment` does not fit."""
    return (
        f"segment {segment.gpa:#x}-{segment.end:#x} ends beyond the machine's {memory_bytes:#x} bytes of memory; "
        "give the machine more memory or link the guest lower"
    )
