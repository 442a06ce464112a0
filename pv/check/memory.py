"""Where do two runs' final memories differ, once what a processor may write at its own moment is the same?

Three kinds of bits are the processor's and not the guest's. They are compared as equal under these rules, and counted:

- Accessed, of a present entry of a page table: a processor may set it whenever it uses the entry, ahead of need as
  well (SDM vol. 3, 4.8), so techniques that walk tables at other times set it at other times.
- Dirty, of a present entry that maps a page: likewise, where a TLB or a shadow still holds the translation that was
  there before the guest cleared the bit.
- Accessed, of a code or data descriptor: set by a load of the segment, which a processor may skip where it keeps the
  descriptor (SDM vol. 3, 3.4.5.1 asks software to allow for either).

A page is a page table where a table that the guest is known to have used leads to it at the end, in both memories; the
descriptors are those of the final GDT and LDT. All other bits must be equal: of a table no less than of data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pv.check.timing import Area
from pv.memory import PAGE_SIZE

PRESENT, ACCESSED, DIRTY, LARGE = 1, 1 << 5, 1 << 6, 1 << 7
FRAME: Final = 0x000F_FFFF_FFFF_F000
ROOT_LEVEL: Final = 3
CODE_OR_DATA, DESCRIPTOR_ACCESSED = 1 << 44, 1 << 40
WORD: Final = 8
PAGE_WORDS: Final = struct.Struct(f"<{PAGE_SIZE // WORD}Q")


class Byte(NamedTuple):
    """One byte in which two memories differ."""

    gpa: int
    left: int
    right: int


class Compared(NamedTuple):
    """first: the lowest differing byte, None where there is none. differing: bytes that do. normalised: words whose
    bits differ by the rules above alone."""

    first: Byte | None
    differing: int
    normalised: int


class Tables:
    """The page tables of one memory, from `known` (gpa, level) down: which levels each page serves as."""

    def __init__(self, memory: bytes, known: Iterable[tuple[int, int]]) -> None:
        self.levels: Final[dict[int, set[int]]] = {}
        self._memory: Final = memory
        for page, level in known:
            self._add(page, level)

    def _add(self, page: int, level: int) -> None:
        """The page and what hangs below it; a page is followed once for each level, whatever cycles tables make."""
        waiting = [(page, level)]
        while waiting:
            page, level = waiting.pop()
            known = self.levels.setdefault(page, set())
            if level in known or page + PAGE_SIZE > len(self._memory):
                continue
            known.add(level)
            if level == 0:
                continue
            for entry in PAGE_WORDS.unpack_from(self._memory, page):
                if entry & PRESENT and not (entry & LARGE and level < ROOT_LEVEL):
                    waiting.append((entry & FRAME, level - 1))


def walk(memory: bytes, root: int, gva: int) -> int | None:
    """The gpa that tables map `gva` to, None where they do not."""
    table = root & FRAME
    for level in range(ROOT_LEVEL, -1, -1):
        at = table + (gva >> 12 + 9 * level & 511) * WORD
        if at + WORD > len(memory):
            return None
        entry = int.from_bytes(memory[at : at + WORD], "little")
        if not entry & PRESENT:
            return None
        if level == 0 or (entry & LARGE and level < ROOT_LEVEL):
            inside = (1 << 12 + 9 * level) - 1
            return entry & FRAME & ~inside | gva & inside
        table = entry & FRAME
    return None


def descriptor_words(memory: bytes, registers: dict[str, int]) -> set[int]:
    """The gpas of the descriptors in the final GDT and LDT that are mapped."""
    words = set()
    for table in ("gdt", "ldt"):
        base, limit = registers[f"{table}_base"], registers[f"{table}_limit"]
        for offset in range(0, min(limit + 1, 1 << 16) & ~7, WORD):
            gpa = walk(memory, registers["cr3"], base + offset & (1 << 64) - 1)
            if gpa is not None:
                words.add(gpa)
    return words


class Rules:
    """What two memories are compared under. tables: (gpa, level) of those that either run is known to have used."""

    def __init__(self, left: bytes, right: bytes, tables: Iterable[tuple[int, int]], descriptors: set[int]) -> None:
        tables = tuple(tables)
        both = Tables(left, tables).levels, Tables(right, tables).levels
        self._levels = {page: both[0][page] & both[1][page] for page in both[0].keys() & both[1].keys()}
        self._descriptors = descriptors

    def same(self, gpa: int, left: int, right: int) -> bool:
        """Whether the words at `gpa` differ in nothing but bits that a processor sets at its own moment."""
        if left & right & PRESENT:
            for level in self._levels.get(gpa - gpa % PAGE_SIZE, ()):
                leaf = level == 0 or (level < ROOT_LEVEL and bool(left & right & LARGE))
                if not (left ^ right) & ~(ACCESSED | (DIRTY if leaf else 0)):
                    return True
        if left & right & CODE_OR_DATA and not (left ^ right) & ~DESCRIPTOR_ACCESSED:
            return gpa in self._descriptors
        return False


def compare_memory(left: bytes, right: bytes, areas: Iterable[Area], rules: Rules | None) -> Compared:
    """Compare two memories of one size outside of `areas`; rules=None compares every bit."""
    first, differing, normalised = None, 0, 0
    if left == right:
        return Compared(None, 0, 0)
    areas = tuple(areas)
    for gpa in _words(left, right):
        a, b = left[gpa : gpa + WORD], right[gpa : gpa + WORD]
        if rules is not None and rules.same(gpa, int.from_bytes(a, "little"), int.from_bytes(b, "little")):
            normalised += 1
            continue
        for at in range(len(a)):
            if a[at] != b[at] and not any(one.gpa <= gpa + at < one.gpa + one.size_bytes for one in areas):
                first = first or Byte(gpa + at, a[at], b[at])
                differing += 1
    return Compared(first, differing, normalised)


def _words(left: bytes, right: bytes) -> Iterator[int]:
    """The gpa of each aligned word in which they differ, lowest first."""
    for page in range(0, len(left), PAGE_SIZE):
        if left[page : page + PAGE_SIZE] != right[page : page + PAGE_SIZE]:
            for gpa in range(page, page + PAGE_SIZE, WORD):
                if left[gpa : gpa + WORD] != right[gpa : gpa + WORD]:
                    yield gpa
