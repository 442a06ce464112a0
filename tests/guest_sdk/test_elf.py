"""The file as pyelftools reads it: segments, flags, note, entry, symbols."""

from __future__ import annotations

import io
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from guest_sdk import AssemblyError, Guest, abi
from guest_sdk.elf import note
from tests.guest_sdk.emulator import symbol_table

PAGE = 4096


def read(paravirt: bool = True) -> ELFFile:
    guest = Guest("test", paravirt=paravirt)
    guest.asm("main: nop\n.again: jmp .again")
    guest.data("word", b"abcd").rodata("fixed", [1, 2, 3]).bss("zeroes", 10000)
    return ELFFile(io.BytesIO(guest.build()))


def loads(file: ELFFile) -> dict[str, Any]:
    names = {section["sh_addr"]: section.name for section in file.iter_sections() if section["sh_flags"] & 2}
    return {names[s["p_vaddr"]]: s for s in file.iter_segments("PT_LOAD")}


def test_header() -> None:
    file = read()
    assert (file["e_type"], file["e_machine"]) == ("ET_EXEC", "EM_X86_64")
    assert file["e_entry"] == (symbol_table(file).get_symbol_by_name("_start") or [])[0]["st_value"]


@pytest.mark.parametrize("paravirt", [True, False])
def test_segments_have_their_flags_and_pages_of_their_own(paravirt: bool) -> None:
    segments = loads(read(paravirt))
    flags = {".text": 5, ".rodata": 4, ".data": 6, ".bss": 6} | ({".hypercall": 5} if paravirt else {})
    assert {name: segment["p_flags"] for name, segment in segments.items()} == flags
    pages = [
        page
        for segment in segments.values()
        for page in range(segment["p_vaddr"] // PAGE, (segment["p_vaddr"] + segment["p_memsz"] - 1) // PAGE + 1)
    ]
    assert len(pages) == len(set(pages))
    assert all(segment["p_vaddr"] % PAGE == segment["p_offset"] % PAGE == 0 for segment in segments.values())


def test_bss_takes_no_file_space() -> None:
    bss = loads(read())[".bss"]
    assert (bss["p_filesz"], bss["p_memsz"] >= 26000) == (0, True)


def test_hypercall_page_is_full_of_ret() -> None:
    page = loads(read())[".hypercall"]
    assert page.data() == b"\xc3" * PAGE


def test_the_stack_is_not_executable() -> None:
    (stack,) = read().iter_segments("PT_GNU_STACK")
    assert stack["p_flags"] == 6


def test_note_carries_the_abi_version() -> None:
    (segment,) = read().iter_segments("PT_NOTE")
    assert isinstance(segment, NoteSegment)
    (found,) = segment.iter_notes()
    assert found["n_name"] == abi.NOTE_OWNER
    assert int(found["n_type"]) == abi.NOTE_TYPE
    assert found["n_descdata"] == abi.VERSION.to_bytes(4, "little")
    assert len(note()) % 4 == 0


def test_an_unmodified_guest_carries_no_note() -> None:
    assert list(read(paravirt=False).iter_segments("PT_NOTE")) == []


def test_symbols_name_addresses() -> None:
    table = symbol_table(read())
    by_name = {symbol.name: symbol for symbol in table.iter_symbols()}
    assert by_name["main"]["st_info"] == {"bind": "STB_GLOBAL", "type": "STT_FUNC"}
    assert by_name["main.again"]["st_info"]["bind"] == "STB_LOCAL"
    assert by_name["word"]["st_info"]["type"] == "STT_OBJECT"
    assert by_name["zeroes"]["st_size"] == 10000
    bindings = [symbol["st_info"]["bind"] for symbol in table.iter_symbols()]
    assert bindings.index("STB_GLOBAL") == table["sh_info"]
    assert "STB_LOCAL" not in bindings[table["sh_info"] :]


def test_symbols_stand_in_their_sections() -> None:
    file = read()
    for symbol in symbol_table(file).iter_symbols():
        if symbol.name:
            section = file.get_section(symbol["st_shndx"])
            assert section["sh_addr"] <= symbol["st_value"] <= section["sh_addr"] + section["sh_size"]


def test_data_is_in_its_segment() -> None:
    segments = loads(read())
    assert segments[".data"].data() == b"abcd"
    assert segments[".rodata"].data() == b"\1\2\3"


def test_without_start_there_is_no_file() -> None:
    with pytest.raises(AssemblyError, match="no label 'main'"):
        Guest("empty", paravirt=False).build()
    with pytest.raises(AssemblyError, match="no label '_start'"):
        Guest("data", paravirt=False).data("_start", b"not code").build()
