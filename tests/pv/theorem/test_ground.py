"""The ground's tables say what they are meant to, and its parts do not overlap."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from pv.memory import GuestMemory
from pv.theorem import ground


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    made = GuestMemory(ground.MEMORY_BYTES)
    ground.lay_ground(made, ground.image(b"\x90", b"\xcd\xfe", b"\xf4"))
    yield made
    made.close()


def test_selectors_name_descriptors_of_their_level() -> None:
    for level in (0, 1, 3):
        for selector in (ground.CODE_SELECTORS[level], ground.STACK_SELECTORS[level]):
            assert selector & 3 == level
            assert ground.GDT_WORDS[selector // 8] >> 45 & 3 == level
    assert ground.GDT_WORDS[ground.TSS_SELECTOR // 8] >> 40 & 0xFF == 0x89
    assert ground.GDT_WORDS[ground.LDT_SELECTOR // 8] >> 40 & 0xFF == 0x82
    assert ground.GDT_WORDS[ground.OTHER_LDT // 8] >> 40 & 0xFF == 0x82


def test_both_tables_have_the_subject(memory: GuestMemory) -> None:
    ground.lay_tables(memory, (0x1234, 0x5678))
    for at in (ground.GDT, ground.GDT_ELSEWHERE):
        assert struct.unpack("<2Q", memory.read(at + ground.SUBJECT, 16)) == (0x1234, 0x5678)


def test_each_vector_leads_to_its_stub(memory: GuestMemory) -> None:
    for at in (ground.IDT, ground.IDT_ELSEWHERE):
        for vector in (0, 13, 0x80, 255):
            low, high = struct.unpack("<QQ", memory.read(at + 16 * vector, 16))
            rip = low & 0xFFFF | (low >> 48) << 16 | high << 32
            assert rip == ground.STUBS + vector * ground.STUB_BYTES
            assert memory.read(rip, 1) == b"\xf4"


def test_cpl_3_may_use_what_runs(memory: GuestMemory) -> None:
    root = ground.TABLES_FIRST
    for gva in (ground.CODE, ground.DATA, ground.STACK_PAGE, ground.WATCHED):
        assert memory.read_uint(ground.page_entry(memory, root, gva), 8) & 7 == 7
    assert memory.read(ground.ROOT_ELSEWHERE, ground.PAGE) == memory.read(root, ground.PAGE)


def test_what_no_small_page_maps_is_said(memory: GuestMemory) -> None:
    with pytest.raises(ValueError, match="0x40000000 is not mapped by a 4 KiB page"):
        ground.page_entry(memory, ground.TABLES_FIRST, 1 << 30)


def test_a_call_gate_names_its_target() -> None:
    low, high = ground.call_gate(8, 0x1_2345_6789)
    assert (low & 0xFFFF, low >> 16 & 0xFFFF, low >> 40 & 0xFF, low >> 48, high) == (0x6789, 8, 0xEC, 0x2345, 1)
