"""What does the loader leave in memory for an unmodified guest? Page tables that map all RAM, and a GDT.

Intel SDM vol. 3: 4.5 (4-level paging), 3.4.5 (descriptors). RAM is mapped identity, supervisor, writable and
no-execute, but for the segments, which get the rights that their file gives them. A guest replaces all of it.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

from guest_sdk.abi import BOOT_STACK_TOP
from pv.loaders.image import Image, LoadError, Segment
from pv.memory import PAGE_SIZE, GuestMemory

GDT_BASE: Final = 0x1000
TABLES_FIRST: Final = 0x10000
STACK_BYTES: Final = 0x4000  # kept free below BOOT_STACK_TOP for the guest's first steps
TABLES_END: Final = BOOT_STACK_TOP - STACK_BYTES
ENTRIES: Final = 512
ENTRY_BYTES: Final = 8
LARGE: Final = PAGE_SIZE * ENTRIES  # 2 MiB
HUGE: Final = LARGE * ENTRIES  # 1 GiB


class Pte(enum.IntFlag):
    """Bits of a paging-structure entry (SDM vol. 3, tables 4-15 to 4-20)."""

    PRESENT = 1 << 0
    WRITE = 1 << 1
    LARGE = 1 << 7
    NO_EXECUTE = 1 << 63


LARGE_PAGE: Final = int(Pte.LARGE)
TABLE: Final = int(Pte.PRESENT | Pte.WRITE)
RIGHTS: Final = {  # by (writable, executable)
    (False, False): int(Pte.PRESENT | Pte.NO_EXECUTE),
    (False, True): int(Pte.PRESENT),
    (True, False): int(Pte.PRESENT | Pte.WRITE | Pte.NO_EXECUTE),
    (True, True): int(Pte.PRESENT | Pte.WRITE),
}
RAM: Final = RIGHTS[True, False]


class Descriptor(enum.IntFlag):
    """Bits of a segment descriptor (SDM vol. 3, figure 3-8). FLAT: base 0, limit 0xfffff pages."""

    FLAT = 0x000F_0000_0000_FFFF
    ACCESSED = 1 << 40
    WRITE_OR_READ = 1 << 41
    CODE = 1 << 43
    CODE_OR_DATA = 1 << 44
    PRESENT = 1 << 47
    LONG = 1 << 53
    BIG = 1 << 54
    PAGES = 1 << 55


DATA_DPL0: Final = (
    Descriptor.FLAT | Descriptor.ACCESSED | Descriptor.WRITE_OR_READ | Descriptor.CODE_OR_DATA
    | Descriptor.PRESENT | Descriptor.PAGES
)  # fmt: skip
GDT: Final = struct.pack(
    "<3Q", 0, DATA_DPL0 | Descriptor.CODE | Descriptor.LONG, DATA_DPL0 | Descriptor.BIG
)  # selectors 0x08 and 0x10


@dataclass(frozen=True, slots=True)
class BootState:
    """What the processor's registers are to hold at the guest's first instruction."""

    cr3: int
    gdt_base: int
    gdt_limit: int
    rsp: int
    rip: int


class TablePages:
    """Pages for tables, one after the other. Raises LoadError where they would reach the boot stack."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._next = TABLES_FIRST

    def reserve(self) -> int:
        """The gpa of a page that is to hold a table."""
        if self._next + PAGE_SIZE > TABLES_END:
            raise LoadError(
                f"boot page tables: {(TABLES_END - TABLES_FIRST) // PAGE_SIZE} pages do not hold them; "
                "give the machine less memory, or link the guest's segments closer together"
            )
        gpa = self._next
        self._next += PAGE_SIZE
        return gpa

    def fill(self, gpa: int, entries: list[int]) -> None:
        """Write a table; entries that are not given are not present."""
        self._memory.write(gpa, struct.pack(f"<{len(entries)}Q", *entries).ljust(PAGE_SIZE, b"\0"))

    def add(self, entries: list[int]) -> int:
        """Reserve and fill; the gpa."""
        gpa = self.reserve()
        self.fill(gpa, entries)
        return gpa


def write_boot_tables(memory: GuestMemory, image: Image) -> BootState:
    """Write page tables and GDT for `image`; the registers that go with them. Raises LoadError where they do not fit.

    A table is split only where it must be: 1 GiB pages above the first GiB, 2 MiB pages, and 4 KiB pages in the
    first 2 MiB, where segments differ from what is around them, and where RAM ends.
    """
    pages = TablePages(memory)
    root, directory_pointers = pages.reserve(), pages.reserve()  # 512 GiB, more than any machine has
    pages.fill(root, [directory_pointers | TABLE])
    pages.fill(
        directory_pointers,
        [_map_huge(pages, gpa, memory.size_bytes, image) for gpa in range(0, memory.size_bytes, HUGE)],
    )
    memory.write(GDT_BASE, GDT)
    return BootState(root, GDT_BASE, len(GDT) - 1, BOOT_STACK_TOP, image.entry)


def _map_huge(pages: TablePages, gpa: int, memory_bytes: int, image: Image) -> int:
    """The entry that maps the GiB at `gpa`."""
    if gpa and gpa + HUGE <= memory_bytes and not _touching(image, gpa, HUGE):
        return gpa | RAM | LARGE_PAGE
    end = min(gpa + HUGE, memory_bytes)
    return pages.add([_map_large(pages, at, memory_bytes, image) for at in range(gpa, end, LARGE)]) | TABLE


def _map_large(pages: TablePages, gpa: int, memory_bytes: int, image: Image) -> int:
    """The entry that maps the 2 MiB at `gpa`."""
    touching = _touching(image, gpa, LARGE)
    if gpa and gpa + LARGE <= memory_bytes and not touching:
        return gpa | RAM | LARGE_PAGE
    if len(touching) == 1 and touching[0].gpa <= gpa and gpa + LARGE <= touching[0].end:
        return gpa | RIGHTS[touching[0].writable, touching[0].executable] | LARGE_PAGE
    flags = _segment_flags(touching, gpa, gpa + LARGE)
    end = min(gpa + LARGE, memory_bytes)
    return pages.add([at | flags.get(at, RAM) for at in range(gpa, end, PAGE_SIZE)]) | TABLE


def _touching(image: Image, gpa: int, size_bytes: int) -> list[Segment]:
    return [segment for segment in image.segments if segment.gpa < gpa + size_bytes and gpa < segment.end]


def _segment_flags(segments: list[Segment], first: int, end: int) -> dict[int, int]:
    """Flags by gpa of each page of first..end that a segment touches; one that two share has the rights of both."""
    rights: dict[int, tuple[bool, bool]] = {}
    for segment in segments:
        low = max(segment.gpa, first) // PAGE_SIZE * PAGE_SIZE
        for gpa in range(low, min(segment.end, end), PAGE_SIZE):
            writable, executable = rights.get(gpa, (False, False))
            rights[gpa] = writable or segment.writable, executable or segment.executable
    return {gpa: RIGHTS[pair] for gpa, pair in rights.items()}
