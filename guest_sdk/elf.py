"""How does an image become a file? ELF64, executable, one PT_LOAD a section, a PT_NOTE, a symbol table.

System V ABI, gABI chapters 4 and 5. Headers and the note share the file's first page, which no segment loads;
each section's file offset is congruent to its address modulo the page size.
"""

from __future__ import annotations

import struct
from typing import Final

from guest_sdk import abi
from guest_sdk.errors import AssemblyError
from guest_sdk.link import TEXT, Image, Loaded
from guest_sdk.sections import EXECUTE, PAGE, WRITE

ET_EXEC, EM_X86_64, EV_CURRENT = 2, 62, 1
PT_LOAD, PT_NOTE, PT_GNU_STACK = 1, 4, 0x6474E551
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_NOTE, SHT_NOBITS = 1, 2, 3, 7, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
STB_LOCAL, STB_GLOBAL, STT_OBJECT, STT_FUNC = 0, 1, 1, 2
EHDR: Final = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR: Final = struct.Struct("<IIQQQQQQ")
SHDR: Final = struct.Struct("<IIQQQQIIQQ")
SYM: Final = struct.Struct("<IBBHQQ")
IDENT: Final = b"\x7fELF\x02\x01\x01" + bytes(9)


def note() -> bytes:
    """The note that says which ABI the guest was built for: owner, type, one u32."""
    owner = abi.NOTE_OWNER.encode() + b"\0"
    header = struct.pack("<III", len(owner), 4, abi.NOTE_TYPE)
    return header + owner + bytes(-len(owner) % 4) + struct.pack("<I", abi.VERSION)


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def _section_flags(section: Loaded) -> int:
    return SHF_ALLOC | (SHF_WRITE if section.flags & WRITE else 0) | (SHF_EXECINSTR if section.flags & EXECUTE else 0)


def write(image: Image, *, with_note: bool) -> bytes:
    """The file. Raises AssemblyError without a `_start`."""
    entry = next((s.address for s in image.symbols if s.name == "_start" and s.section == TEXT), None)
    if entry is None:
        raise AssemblyError("no label '_start' in the text")
    descriptor = note() if with_note else b""
    count = len(image.sections) + 1 + with_note
    note_at = EHDR.size + PHDR.size * count
    body = bytearray(note_at) + descriptor
    programs = [PHDR.pack(PT_GNU_STACK, 6, 0, 0, 0, 0, 0, 16)]
    if with_note:
        programs.append(PHDR.pack(PT_NOTE, 4, note_at, 0, 0, len(descriptor), len(descriptor), 4))
    strings, headers, index = _Strings(), [bytes(SHDR.size)], {}
    for section in image.sections:
        body += bytes(-len(body) % PAGE)
        at, filled = len(body), len(section.data)
        body += section.data
        programs.append(
            PHDR.pack(PT_LOAD, section.flags, at, section.address, section.address, filled, section.size_bytes, PAGE)
        )
        kind = SHT_PROGBITS if filled else SHT_NOBITS
        index[section.name] = len(headers)
        headers.append(
            SHDR.pack(strings.add(section.name), kind, _section_flags(section), section.address, at,
                      section.size_bytes, 0, 0, PAGE, 0)
        )  # fmt: skip
    if with_note:
        headers.append(SHDR.pack(strings.add(".note.pvkit"), SHT_NOTE, 0, 0, note_at, len(descriptor), 0, 0, 4, 0))
    table, names, first_global = _symbols(image, index)
    for name, kind, data, size in (
        (".symtab", SHT_SYMTAB, table, SYM.size),
        (".strtab", SHT_STRTAB, names, 0),
    ):
        body += bytes(-len(body) % 8)
        link, info = (len(headers) + 1, first_global) if kind == SHT_SYMTAB else (0, 0)
        headers.append(SHDR.pack(strings.add(name), kind, 0, 0, len(body), len(data), link, info, 8, size))
        body += data
    name_at = strings.add(".shstrtab")
    headers.append(SHDR.pack(name_at, SHT_STRTAB, 0, 0, len(body), len(strings.data), 0, 0, 1, 0))
    body += strings.data
    body += bytes(-len(body) % 8)
    body[: EHDR.size] = EHDR.pack(
        IDENT, ET_EXEC, EM_X86_64, EV_CURRENT, entry, EHDR.size, len(body), 0,
        EHDR.size, PHDR.size, len(programs), SHDR.size, len(headers), len(headers) - 1,
    )  # fmt: skip
    body[EHDR.size : note_at] = b"".join(programs)
    return bytes(body) + b"".join(headers)


def _symbols(image: Image, index: dict[str, int]) -> tuple[bytes, bytes, int]:
    """The symbol table, its strings, and the index of the first symbol that is global."""
    strings, table = _Strings(), [bytes(SYM.size)]
    ordered = sorted(image.symbols, key=lambda symbol: not symbol.local)  # locals come first (gABI, sh_info)
    executable = {section.name for section in image.sections if section.flags & EXECUTE}
    for symbol in ordered:
        binding = STB_LOCAL if symbol.local else STB_GLOBAL
        kind = STT_FUNC if symbol.section in executable else STT_OBJECT
        table.append(
            SYM.pack(strings.add(symbol.name), binding << 4 | kind, 0, index[symbol.section],
                     symbol.address, symbol.size_bytes)
        )  # fmt: skip
    return b"".join(table), bytes(strings.data), 1 + sum(symbol.local for symbol in ordered)
