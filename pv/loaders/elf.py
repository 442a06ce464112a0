"""Which ELF files are guests, and what do they ask for? pyelftools reads the headers; every number is then checked.

System V gABI, chapters 4 and 5; System V ABI AMD64 supplement. The file is hostile: each offset and size is bounded
by the file or by memory before it is used, and whatever goes wrong is a LoadError.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from elftools.common.utils import struct_parse
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile

from guest_sdk.abi import LOAD_FIRST
from pv.loaders.elf_note import abi_version
from pv.loaders.elf_symbols import symbols
from pv.loaders.image import Image, LoadError, Segment, outside

HEADER_BYTES: Final = 64
PROGRAM_HEADER_BYTES: Final = 56
SECTION_HEADER_BYTES: Final = 64
PROGRAM_HEADERS_MOST: Final = 64
SECTIONS_MOST: Final = 4096

WANTED: Final = (  # (field, value, what a guest must be, how to mend it)
    ("EI_CLASS", "ELFCLASS64", "64-bit", "build it with -m64"),
    ("EI_DATA", "ELFDATA2LSB", "little-endian", "build it for x86-64"),
    ("e_machine", "EM_X86_64", "for x86-64", "build it for x86-64"),
    ("e_type", "ET_EXEC", "an executable at fixed addresses", "link it with -static -no-pie"),
)


@dataclass(frozen=True, slots=True)
class ProgramHeader:
    """One program header, its numbers unchecked. number: its place in the file's table."""

    number: int
    kind: str | int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    file_bytes: int
    memory_bytes: int


def load_elf(data: bytes, memory_bytes: int) -> Image:
    """The Image of a static x86-64 executable, linked at LOAD_FIRST or above. Raises LoadError and nothing else."""
    try:
        return _load(data, memory_bytes)
    except LoadError:
        raise
    except Exception as error:  # pyelftools raises many kinds on malformed input, and promises none
        raise LoadError(f"ELF file: its headers make no sense ({_one_line(error)}); build the guest again") from error


def _load(data: bytes, memory_bytes: int) -> Image:
    if len(data) < HEADER_BYTES:
        raise LoadError(f"ELF file: its header of {HEADER_BYTES} bytes is cut off at {len(data)}; copy the file again")
    elf = ELFFile(io.BytesIO(data))
    header = elf.header
    _check_header(header, len(data))
    headers = [_program_header(elf, number) for number in range(header["e_phnum"])]
    for one in headers:
        _check_in_file(one, len(data))
    if any(one.kind == "PT_INTERP" for one in headers):
        raise LoadError("ELF file: it wants a dynamic linker (PT_INTERP); link it with -static -no-pie")
    segments = tuple(sorted(_segments(headers, data, memory_bytes), key=lambda segment: segment.gpa))
    _check_layout(segments, header["e_entry"])
    notes = [data[one.offset : one.offset + one.file_bytes] for one in headers if one.kind == "PT_NOTE"]
    return Image(header["e_entry"], segments, abi_version(notes), MappingProxyType(symbols(elf, data)))


def _check_header(header: Any, file_bytes: int) -> None:
    fields = {**header, **header["e_ident"]}
    for name, value, what, mend in WANTED:
        if fields[name] != value:
            raise LoadError(f"ELF file: {name} is {fields[name]}, and a guest is {what}; {mend}")
    _check_table(header, "ph", "program headers", PROGRAM_HEADER_BYTES, PROGRAM_HEADERS_MOST, file_bytes)
    if header["e_phnum"] == 0:
        raise LoadError("ELF file: it has no program headers, so nothing to load; link it into an executable")
    if header["e_shoff"]:
        _check_table(header, "sh", "section headers", SECTION_HEADER_BYTES, SECTIONS_MOST, file_bytes)


def _check_table(header: Any, prefix: str, what: str, entry_bytes: int, most: int, file_bytes: int) -> None:
    offset, count, size = (header[f"e_{prefix}{field}"] for field in ("off", "num", "entsize"))
    if count and size != entry_bytes:
        raise LoadError(f"ELF file: its {what} are of {size} bytes and not {entry_bytes}; build the guest again")
    if count > most:
        raise LoadError(f"ELF file: {count} {what} are more than {most}; link the guest into fewer, or strip it")
    if offset + count * entry_bytes > file_bytes:
        raise LoadError(f"ELF file: its {what} at {offset:#x} are beyond its {file_bytes} bytes; copy the file again")


def _program_header(elf: Any, number: int) -> ProgramHeader:
    header = struct_parse(elf.structs.Elf_Phdr, elf.stream, elf.header["e_phoff"] + number * PROGRAM_HEADER_BYTES)
    names = ("p_type", "p_flags", "p_offset", "p_vaddr", "p_paddr", "p_filesz", "p_memsz")
    return ProgramHeader(number, *(header[name] for name in names))


def _check_in_file(header: ProgramHeader, file_bytes: int) -> None:
    if header.file_bytes and header.offset + header.file_bytes > file_bytes:
        raise LoadError(
            f"ELF file: program header {header.number} has file offset {header.offset:#x} and {header.file_bytes:#x} "
            f"bytes, beyond the file's {file_bytes:#x}; the file is cut off: copy it again"
        )


def _segments(headers: list[ProgramHeader], data: bytes, memory_bytes: int) -> Iterator[Segment]:
    for one in headers:
        if one.kind != "PT_LOAD" or not one.memory_bytes:
            continue
        where = f"ELF file: program header {one.number} ({one.vaddr:#x})"
        if one.file_bytes > one.memory_bytes:
            raise LoadError(f"{where}: file size {one.file_bytes:#x} is above memory size; build the guest again")
        if one.paddr not in (0, one.vaddr):
            raise LoadError(f"{where}: physical address {one.paddr:#x} differs; link it where it runs (identity)")
        if one.vaddr < LOAD_FIRST:
            raise LoadError(
                f"{where}: the boot tables and stack are below {LOAD_FIRST:#x}; "
                f"link the guest at or above it (ld -Ttext-segment={LOAD_FIRST:#x})"
            )
        segment = Segment(
            one.vaddr,
            data[one.offset : one.offset + one.file_bytes],
            one.memory_bytes,
            writable=bool(one.flags & P_FLAGS.PF_W),
            executable=bool(one.flags & P_FLAGS.PF_X),
        )
        if segment.end > memory_bytes:
            raise LoadError(f"{where}: {outside(segment, memory_bytes)}")
        yield segment


def _check_layout(segments: tuple[Segment, ...], entry: int) -> None:
    if not segments:
        raise LoadError("ELF file: it has no loadable segment (PT_LOAD); link it into an executable")
    for low, high in itertools.pairwise(segments):
        if low.end > high.gpa:
            raise LoadError(
                f"ELF file: segments {low.gpa:#x}-{low.end:#x} and {high.gpa:#x}-{high.end:#x} overlap; "
                "mend the linker script"
            )
    if not any(segment.executable and segment.gpa <= entry < segment.end for segment in segments):
        raise LoadError(f"ELF file: entry {entry:#x} is in no executable segment; set it with ld -e, or ENTRY()")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
