"""What are a guest's addresses called? The symbol table of its ELF file, for traces and flight records.

System V gABI, chapter 4, "Symbol table". Entries are unpacked here: pyelftools takes some 30 us for each.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import Any, Final

from elftools.common.utils import struct_parse

from pv.loaders.image import LoadError

HEADER_BYTES: Final = 64  # of a section header
ENTRY: Final = struct.Struct("<IBBHQQ")  # st_name, st_info, st_other, st_shndx, st_value, st_size
NAMED_TYPES: Final = {0, 1, 2}  # STT_NOTYPE, STT_OBJECT, STT_FUNC
TYPE_VALUES: Final = 16
LOCAL: Final = 0  # STB_LOCAL
SHN_UNDEF: Final = 0
SHN_ABS: Final = 0xFFF1
NAME_BYTES_MOST: Final = 256  # a longer name is cut; it also bounds the search for the end of each


def symbols(elf: Any, data: bytes) -> dict[str, int]:
    """Name to gva of what the file defines: sized_symbols() without sizes."""
    return {name: value for name, (value, _) in sized_symbols(elf, data).items()}


def sized_symbols(elf: Any, data: bytes) -> dict[str, tuple[int, int]]:
    """Name to (gva, bytes) of what the file defines; a global name wins over local ones. Empty where it is stripped.

    elf: an ELFFile whose section header table is known to lie within `data`. Raises LoadError.
    """
    sections = map(partial(_header, elf), range(_count(elf)))
    section = next((one for one in sections if one["sh_type"] == "SHT_SYMTAB"), None)  # gABI: one at most
    if section is None:
        return {}
    if section["sh_link"] >= _count(elf):
        raise LoadError(f"ELF file: its symbol table names section {section['sh_link']}, which is not there; strip it")
    table, names = _contents(section, data), _contents(_header(elf, section["sh_link"]), data)
    local_names: dict[str, tuple[int, int]] = {}
    global_names: dict[str, tuple[int, int]] = {}
    for name_at, info, _, index, value, size in ENTRY.iter_unpack(table[: len(table) // ENTRY.size * ENTRY.size]):
        if info % TYPE_VALUES not in NAMED_TYPES or index in (SHN_UNDEF, SHN_ABS):
            continue
        name = names[name_at : name_at + NAME_BYTES_MOST].partition(b"\0")[0].decode("utf-8", "backslashreplace")
        if name:
            (local_names if info // TYPE_VALUES == LOCAL else global_names)[name] = value, size
    return local_names | global_names


def _count(elf: Any) -> int:
    return int(elf.header["e_shnum"]) if elf.header["e_shoff"] else 0


def _header(elf: Any, number: int) -> Any:
    return struct_parse(elf.structs.Elf_Shdr, elf.stream, elf.header["e_shoff"] + number * HEADER_BYTES)


def _contents(section: Any, data: bytes) -> bytes:
    offset, size = section["sh_offset"], section["sh_size"]
    if offset + size > len(data):
        raise LoadError(f"ELF file: its symbol table at {offset:#x} ends beyond the file; copy it again, or strip it")
    return data[offset : offset + size]
