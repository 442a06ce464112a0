"""The boot tables, walked back as a processor would."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk.abi import BOOT_STACK_TOP, LOAD_FIRST
from pv.loaders import Image, LoadError, Segment
from pv.loaders.boot import GDT_BASE, TABLES_END, TABLES_FIRST, write_boot_tables
from pv.loaders.flat import load_flat
from pv.memory import GuestMemory

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE = 4096
PRESENT, WRITE, USER, LARGE, NO_EXECUTE = 1, 2, 4, 0x80, 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000


def walk(memory: GuestMemory, cr3: int, gva: int) -> tuple[int, bool, bool, int] | None:
    """(gpa, writable, executable, page size) as SDM vol. 3, 4.5.4 has it, or None. No level may allow user access."""
    table, writable, executable = cr3, True, True
    for level, size in ((39, 0), (30, GIB), (21, 2 * MIB), (12, PAGE)):
        assert TABLES_FIRST <= table < TABLES_END
        entry = memory.read_uint(table + (gva >> level) % 512 * 8, 8)
        if not entry & PRESENT:
            return None
        assert not entry & USER
        writable &= bool(entry & WRITE)
        executable &= not entry & NO_EXECUTE
        if level == 12 or entry & LARGE:
            return (entry & ADDRESS & -size) + gva % size, writable, executable, size
        table = entry & ADDRESS
    raise AssertionError("not reached")


def expected(image: Image, gpa: int) -> tuple[bool, bool]:
    """Rights of the page of `gpa`: those of all segments on it, or RW and NX."""
    page = gpa // PAGE * PAGE
    on_it = [one for one in image.segments if one.gpa < page + PAGE and page < one.end]
    if not on_it:
        return True, False
    return any(one.writable for one in on_it), any(one.executable for one in on_it)


def low_memory(size_bytes: int) -> GuestMemory:
    """Memory of any size of which only the first MiB is there: enough for the tables, and nothing on the host."""
    memory = GuestMemory(MIB)
    vars(memory)["size_bytes"] = size_bytes
    return memory


def check(memory: GuestMemory, image: Image, cr3: int, addresses: list[int]) -> None:
    for gpa in addresses:
        found = walk(memory, cr3, gpa)
        if gpa >= memory.size_bytes:
            assert found is None, f"{gpa:#x} is beyond RAM"
        else:
            assert found is not None
            assert found[:3] == (gpa, *expected(image, gpa)), f"{gpa:#x}"


TEXT = Segment(MIB, b"\xf4", 0x1800, writable=False, executable=True)
CONSTANTS = Segment(MIB + 0x2000, b"c", 0x1000, writable=False, executable=False)
DATA = Segment(MIB + 0x3000, b"d", 0x300000, writable=True, executable=False)
FAR_TEXT = Segment(6 * MIB, b"\xf4", 2 * MIB + 1, writable=False, executable=True)
IMAGE = Image(MIB, (TEXT, CONSTANTS, DATA, FAR_TEXT))


@pytest.mark.parametrize("size", [16 * MIB, 16 * MIB + 3 * PAGE, 9 * MIB])
def test_every_page_has_the_rights_of_its_segment(size: int) -> None:
    memory = GuestMemory(size)
    state = write_boot_tables(memory, IMAGE)
    check(memory, IMAGE, state.cr3, list(range(0, size + 4 * MIB, PAGE)))
    memory.close()


@pytest.mark.parametrize("size", [GIB, GIB + 2 * MIB, 3 * GIB + 5 * PAGE, 8 * GIB, 64 * GIB])
def test_large_memories_are_mapped_to_their_end_and_no_further(size: int) -> None:
    memory = low_memory(size)
    image = Image(MIB, (*IMAGE.segments, Segment(GIB - MIB, b"", 2 * MIB, writable=False, executable=False)))
    if image.segments[-1].end > size:
        image = IMAGE
    state = write_boot_tables(memory, image)
    edges = {0, MIB, 2 * MIB, 6 * MIB, 8 * MIB, *range(0, size + GIB, GIB), size, size + GIB}
    addresses = [edge + delta for edge in edges for delta in (-MIB - 1, -MIB, -PAGE, -1, 0, 1, PAGE, MIB, MIB + PAGE)]
    check(memory, image, state.cr3, [address for address in addresses if address >= 0])
    memory.close()


def test_pages_are_as_large_as_rights_allow() -> None:
    memory = low_memory(4 * GIB)
    state = write_boot_tables(memory, IMAGE)
    sizes = {}
    for gpa in (0, MIB, 4 * MIB, 6 * MIB, 8 * MIB, 10 * MIB, GIB, 3 * GIB):
        found = walk(memory, state.cr3, gpa)
        assert found is not None
        sizes[gpa] = found[3]
    assert sizes == {
        0: PAGE, MIB: PAGE, 4 * MIB: PAGE, 6 * MIB: 2 * MIB, 8 * MIB: PAGE,
        10 * MIB: 2 * MIB, GIB: GIB, 3 * GIB: GIB,
    }  # fmt: skip
    memory.close()


def test_registers_and_gdt() -> None:
    memory = GuestMemory(16 * MIB)
    state = write_boot_tables(memory, IMAGE)
    assert (state.cr3, state.rsp, state.rip) == (TABLES_FIRST, BOOT_STACK_TOP, IMAGE.entry)
    assert (state.gdt_base, state.gdt_limit) == (GDT_BASE, 23)
    gdt = struct.unpack("<3Q", memory.read(GDT_BASE, 24))
    assert gdt == (0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF), "as Linux and the SDM write them, accessed"
    memory.close()


def test_flat_code_has_all_rights() -> None:
    memory = GuestMemory(16 * MIB)
    image = load_flat(bytes(0x3000), memory.size_bytes)
    state = write_boot_tables(memory, image)
    for gpa in range(LOAD_FIRST, LOAD_FIRST + 0x3000, PAGE):
        assert walk(memory, state.cr3, gpa) == (gpa, True, True, PAGE)
    assert walk(memory, state.cr3, LOAD_FIRST + 0x3000) == (LOAD_FIRST + 0x3000, True, False, PAGE)
    memory.close()


def test_nothing_outside_the_tables_and_the_gdt_is_written() -> None:
    memory = GuestMemory(16 * MIB)
    write_boot_tables(memory, IMAGE)
    assert not any(memory.read(0, GDT_BASE))
    assert not any(memory.read(GDT_BASE + 24, TABLES_FIRST - GDT_BASE - 24))
    assert not any(memory.read(TABLES_END, memory.size_bytes - TABLES_END))
    memory.close()


def test_a_large_segment_needs_no_split_but_at_its_ends() -> None:
    memory = low_memory(2 * GIB)
    image = Image(MIB, (TEXT, Segment(3 * MIB, b"", GIB, writable=False, executable=False)))
    state = write_boot_tables(memory, image)
    check(memory, image, state.cr3, list(range(0, GIB + 8 * MIB, 64 * KIB)))
    memory.close()


def test_segments_scattered_too_widely_are_refused() -> None:
    memory = low_memory(GIB)
    image = Image(MIB, tuple(Segment(MIB + i * 2 * MIB, b"", PAGE, False, True) for i in range(200)))
    with pytest.raises(LoadError, match=r"boot page tables: 108 pages do not hold them; .* closer together"):
        write_boot_tables(memory, image)
    memory.close()


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Up to four segments in order, byte-granular, of any rights."""
    at, segments = MIB, []
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.integers(0, 3 * MIB))
        size = draw(st.one_of(st.integers(1, 3 * PAGE), st.integers(1, 5 * MIB)))
        segments.append(Segment(at, b"", size, draw(st.booleans()), draw(st.booleans())))
        at += size
    return Image(MIB, tuple(segments))


@settings(max_examples=30, deadline=None)
@given(images(), st.integers(0, 600))
def test_any_layout_is_mapped_as_its_segments_say(image: Image, extra_pages: int) -> None:
    memory = GuestMemory(image.segments[-1].end + extra_pages * PAGE)
    state = write_boot_tables(memory, image)
    edges = {edge for one in image.segments for edge in (one.gpa, one.end)} | {memory.size_bytes}
    addresses = {edge + delta for edge in edges for delta in (-PAGE, -1, 0, PAGE)} | set(
        range(0, memory.size_bytes + 2 * MIB, 255 * PAGE)
    )
    check(memory, image, state.cr3, sorted(addresses))
    memory.close()
