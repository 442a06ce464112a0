"""Random page-table edits, switches and accesses, and what the architecture says each must come to.

Frames, table indices and addresses are few, so that tables are shared, recursive, data at the same time, and each
entry is met at every level. INVLPG stands where the architecture asks for it and nowhere else.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from tests.pv.engines.unicorn_memory.paging_guest import (
    DONE,
    EDIT,
    EXECUTE,
    FAULTED,
    INVLPG,
    LEAVE_AT,
    LOAD_CR0,
    LOAD_CR3,
    LOAD_EFER,
    READ,
    RETURN_AT,
    USER_EXECUTE,
    USER_READ,
    USER_WRITE,
    WRITE,
    Record,
    fixed_entries,
)
from tests.pv.engines.unicorn_memory.paging_model import NX, PS, A, D, P, Paging, U, W, Walk

RAM_FRAMES = 4096  # 16 MiB
INDICES = (2, 5, 6, 7, 511)
POOL, SCRATCH = 0x400, 0xA00  # frames at 4 and 10 MiB: where a 2 MiB page and a 1 GiB page lead the same indices
ROOTS = tuple(range(POOL + 8, POOL + 12))
TABLES = (*(POOL + i for i in (2, 5, 6, 7)), *ROOTS)
MODELLED = tuple(base + i for base in (0, POOL, SCRATCH) for i in range(16))
ADDRESSES = tuple(
    (0xFFFF << 48 if l4 & 256 else 0) | l4 << 39 | l3 << 30 | l2 << 21 | l1 << 12
    for l4, l3, l2, l1 in itertools.product((2, 5, 511), (2, 5), (2, 5), (2, 5, 6, 7))
)
LARGE_TARGETS = (0, POOL << 12, SCRATCH << 12, RAM_FRAMES << 12, 1 << 30)
ODD_BITS = (1 << 45, 1 << 13, 1 << 39, 1 << 8, 1 << 3, 1 << 4)
ACCESSES = (READ, WRITE, EXECUTE, USER_READ, USER_WRITE, USER_EXECUTE)
STUBS = {RETURN_AT >> 3: 0xC3, LEAVE_AT >> 3: 0x81CD}


def fresh_memory() -> dict[int, list[int]]:
    """The modelled frames as a guest finds them: stubs in the data pages, fixed entries in the roots."""
    memory = {frame: [0] * 512 for frame in MODELLED}
    for frame, words in memory.items():
        for index, word in STUBS.items():
            words[index] = word
        if frame in ROOTS:
            words[0], words[1] = fixed_entries()
    return memory


@dataclass
class Program:
    """Steps for the guest, and what must come of them. `unhandled`: the gva at which the machine must stop."""

    choose: random.Random
    write_protect: bool = True
    no_execute: bool = True
    steps: list[tuple[int, int, int]] = field(default_factory=list)
    expected: list[Record] = field(default_factory=list)
    unhandled: int | None = None

    def __post_init__(self) -> None:
        self.model = Paging(RAM_FRAMES, fresh_memory(), ROOTS[0], self.write_protect, self.no_execute)
        if not self.write_protect:
            self.steps.append((LOAD_CR0, 0x80040033 & ~(1 << 16), 0))
        if not self.no_execute:
            self.steps.append((LOAD_EFER, 0x501, 0))

    def build(self, length: int) -> Program:
        """Edits and accesses, about `length` of them; a skeleton of tables first, so that most walks get somewhere."""
        for root, table in zip(ROOTS, TABLES, strict=False):
            self._edit(root, self.choose.choice(INDICES[:2]), self._entry(table))
        while len(self.steps) < length and self.unhandled is None:
            kind = self.choose.random()
            if kind < 0.45:
                self._edit(self.choose.choice(TABLES), self.choose.choice(INDICES), self._any_entry())
            elif kind < 0.52:
                self._switch(self.choose.choice(ROOTS))
            elif kind < 0.55:
                self.steps.append((INVLPG, self.choose.choice(ADDRESSES), 0))
            else:
                self._access(self.choose.choice(ACCESSES), self._address())
        return self

    def _address(self) -> int:
        mapped = [gva for gva in ADDRESSES if self.model.walk(gva).path]
        return self.choose.choice(mapped if mapped and self.choose.random() < 0.7 else ADDRESSES)

    def _entry(self, frame: int) -> int:
        return frame << 12 | P | W | U | A

    def _any_entry(self) -> int:
        """An entry of any kind, a table or a page, sound more often than not."""
        roll = self.choose.random()
        if roll < 0.1:
            return self.choose.getrandbits(64) & ~P
        if roll < 0.3:
            target = self.choose.choice(LARGE_TARGETS[:3] if roll < 0.29 else LARGE_TARGETS) | PS
        elif roll < 0.31:
            target = RAM_FRAMES << 12
        else:
            target = self.choose.choice((*TABLES, *TABLES, SCRATCH + 2, SCRATCH + 5)) << 12
        for bit, chance in ((P, 0.95), (W, 0.75), (U, 0.75), (A, 0.5), (D, 0.5), (NX, 0.2)):
            if self.choose.random() < chance:
                target |= bit
        return target | (self.choose.choice(ODD_BITS) if self.choose.random() < 0.03 else 0)

    def _edit(self, frame: int, index: int, entry: int) -> None:
        held = self._held()
        self.model.memory[frame][index] = entry
        self.steps.append((EDIT, frame << 12 | index << 3, entry))
        self._invalidate(held)

    def _switch(self, root: int) -> None:
        self.model.root = root
        self.steps.append((LOAD_CR3, root << 12, 0))

    def _held(self) -> list[Walk]:
        return [self.model.walk(gva) for gva in ADDRESSES]

    def _invalidate(self, held: list[Walk]) -> None:
        """Tell the processor of every translation that now allows less: an address at a time, or all at once."""
        less = [gva for gva, old in zip(ADDRESSES, held, strict=True) if self.model.walk(gva).allows_less_than(old)]
        if less and self.choose.random() < 0.2:
            self._switch(self.model.root)
        else:
            self.steps += [(INVLPG, gva, 0) for gva in less]

    def _access(self, kind: int, page: int) -> None:
        write, fetch = kind in (WRITE, USER_WRITE), kind in (EXECUTE, USER_EXECUTE)
        index = self.choose.choice(INDICES)
        offset = {EXECUTE: RETURN_AT, USER_EXECUTE: LEAVE_AT}.get(kind, index << 3)
        value = self._any_entry()
        self.steps.append((kind, page | offset, value))
        came_to = self.model.access(page, write=write, fetch=fetch, user=kind >= USER_READ)
        held = self._held() if write else []
        if isinstance(came_to, int):
            self.expected.append(Record(FAULTED, page | offset, came_to))
        elif came_to.frame >= RAM_FRAMES:
            self.unhandled = page | offset
        else:
            words = self.model.memory[came_to.frame]
            self.expected.append(Record(DONE, words[index] if kind in (READ, USER_READ) else 0, 0))
            if write:
                words[index] = value
                self._invalidate(held)
