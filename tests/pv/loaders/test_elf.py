"""Which ELF files are taken, and that all others are refused with a line that says how to mend them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk.abi import LOAD_FIRST, NOTE_OWNER, NOTE_TYPE, VERSION
from pv.loaders import Image, LoadError, Segment
from pv.loaders.elf import load_elf
from tests.pv.loaders.tiny_elf import DYNAMIC, INTERP, MIB, NOTE, Part, R, TinyElf, W, note

MEMORY = 4 * MIB
ABI_NOTE = note(NOTE_OWNER.encode() + b"\0", NOTE_TYPE, VERSION.to_bytes(4, "little"))
CODE = Part(data=b"\x90\xf4")
DATA = Part(vaddr=MIB + 0x1000, data=b"data", flags=R | W, memsz=0x3000)
CONSTANTS = Part(vaddr=MIB + 0x5000, data=b"text", flags=R)
WHOLE = TinyElf((DATA, CODE, CONSTANTS, Part(vaddr=0, data=ABI_NOTE, kind=NOTE)), symbols=(("start", MIB, 0x12, 1),))


def test_a_guest_becomes_an_image() -> None:
    assert load_elf(WHOLE.build(), MEMORY) == Image(
        entry=MIB,
        segments=(
            Segment(MIB, b"\x90\xf4", 2, writable=False, executable=True),
            Segment(MIB + 0x1000, b"data", 0x3000, writable=True, executable=False),
            Segment(MIB + 0x5000, b"text", 4, writable=False, executable=False),
        ),
        abi_version=VERSION,
        symbols={"start": MIB},
    )


def test_empty_segments_and_other_headers_are_passed_over() -> None:
    image = load_elf(TinyElf((CODE, Part(vaddr=0, data=b"", memsz=0), Part(kind=0x6474E551))).build(), MEMORY)
    assert len(image.segments) == 1


def test_a_physical_address_of_zero_is_none() -> None:
    assert load_elf(TinyElf((dataclasses.replace(CODE, paddr=0),)).build(), MEMORY).entry == MIB


def of(*parts: Part, entry: int = MIB) -> TinyElf:
    return TinyElf(parts, entry)


@pytest.mark.parametrize(
    ("elf", "line"),
    [
        (TinyElf().having(bits=1), "EI_CLASS is ELFCLASS32.*-m64"),
        (TinyElf().having(endian=2), "EI_DATA is ELFDATA2MSB.*little-endian"),
        (TinyElf().having(machine=183), "e_machine is EM_AARCH64.*x86-64"),
        (TinyElf().having(machine=0xF00F), "e_machine is 61455"),
        (TinyElf().having(type=3), "e_type is ET_DYN.*-no-pie"),
        (TinyElf().having(type=1), "e_type is ET_REL.*-no-pie"),
        (TinyElf().having(phentsize=32), "program headers are of 32 bytes and not 56"),
        (TinyElf().having(phnum=65), "65 program headers are more than 64"),
        (TinyElf().having(phnum=0xFFFF), "more than 64"),
        (TinyElf().having(phoff=1 << 63), "program headers at 0x8000000000000000 are beyond"),
        (TinyElf().having(phnum=0), "no program headers"),
        (WHOLE.having(shentsize=1), "section headers are of 1 bytes"),
        (WHOLE.having(shnum=4097), "4097 section headers are more than 4096"),
        (WHOLE.having(shoff=(1 << 64) - 1), "section headers at .* are beyond"),
        (of(CODE, Part(kind=INTERP, data=b"/lib/ld.so\0")), "PT_INTERP.*-static"),
        (of(Part(kind=DYNAMIC)), "no loadable segment"),
        (of(Part(kind=NOTE, data=b"")), "no loadable segment"),
        (of(dataclasses.replace(CODE, filesz=0x1000)), "cut off: copy it again"),
        (of(dataclasses.replace(CODE, offset=(1 << 64) - 1)), "cut off: copy it again"),
        (of(CODE, Part(kind=NOTE, data=ABI_NOTE, filesz=1 << 63)), "cut off: copy it again"),
        (of(dataclasses.replace(CODE, memsz=1)), "above memory size"),
        (of(dataclasses.replace(CODE, paddr=0x2000)), "physical address 0x2000 differs"),
        (of(dataclasses.replace(CODE, vaddr=LOAD_FIRST - 1)), "link the guest at or above it"),
        (of(dataclasses.replace(CODE, vaddr=0)), "below 0x100000"),
        (of(dataclasses.replace(CODE, vaddr=MEMORY - 1)), "ends beyond .* more memory"),
        (of(dataclasses.replace(CODE, vaddr=0xFFFF_FFFF_8000_0000)), "ends beyond .* link the guest lower"),
        (of(dataclasses.replace(CODE, memsz=(1 << 64) - 1)), "ends beyond"),
        (of(CODE, dataclasses.replace(CODE, vaddr=MIB + 1)), "overlap; mend the linker script"),
        (of(CODE, CODE), "overlap"),
        (of(dataclasses.replace(CODE, memsz=0x2000), DATA), "overlap"),
        (of(CODE, entry=MIB + 2), "entry 0x100002 is in no executable segment"),
        (of(CODE, entry=0), "entry 0x0 is in no executable segment"),
        (of(CODE, DATA, entry=MIB + 0x1000), "in no executable segment"),
        (of(CODE, Part(kind=NOTE, data=b"\1")), "ELF note"),
    ],
)
def test_what_is_no_guest_is_refused_in_one_line(elf: TinyElf, line: str) -> None:
    with pytest.raises(LoadError, match=line) as error:
        load_elf(elf.build(), MEMORY)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("size", range(0, len(WHOLE.build()), 7))
def test_a_truncated_file_is_refused(size: int) -> None:
    with pytest.raises(LoadError):
        load_elf(WHOLE.build()[:size], MEMORY)


def loads_or_is_refused(data: bytes) -> None:
    try:
        image = load_elf(data, MEMORY)
    except LoadError:
        return
    end = LOAD_FIRST
    for segment in image.segments:
        assert end <= segment.gpa
        assert len(segment.data) <= segment.size_bytes
        end = segment.end
    assert end <= MEMORY
    assert any(segment.executable and segment.gpa <= image.entry < segment.end for segment in image.segments)


EDITS = st.lists(st.tuples(st.integers(0, len(WHOLE.build()) - 1), st.integers(0, 255)), min_size=1, max_size=6)


@given(EDITS)
def test_changed_bytes_load_within_bounds_or_are_refused(edits: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE.build())
    for at, byte in edits:
        data[at] = byte
    loads_or_is_refused(bytes(data))


@given(st.integers(0, (len(WHOLE.build()) - 8) // 4), st.sampled_from([4, 8]), st.integers(0, (1 << 64) - 1))
def test_changed_words_load_within_bounds_or_are_refused(word: int, size: int, value: int) -> None:
    data = bytearray(WHOLE.build())
    data[word * 4 : word * 4 + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    loads_or_is_refused(bytes(data))


@given(st.binary(max_size=400))
def test_any_bytes_behind_the_magic_load_or_are_refused(rest: bytes) -> None:
    loads_or_is_refused(b"\x7fELF\x02\x01\x01" + rest)
