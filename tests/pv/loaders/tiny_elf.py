"""ELF files made by hand, byte by byte, so that each field can be made wrong."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Any

MIB = 1 << 20
LOAD, DYNAMIC, INTERP, NOTE = 1, 2, 3, 4
X, W, R = 1, 2, 4


@dataclass(frozen=True)
class Part:
    """A program header and its bytes; None stands for what follows from the others."""

    vaddr: int = MIB
    data: bytes = b"\xf4"
    flags: int = R | X
    kind: int = LOAD
    memsz: int | None = None
    filesz: int | None = None
    offset: int | None = None
    paddr: int | None = None


@dataclass(frozen=True)
class TinyElf:
    """A whole file. header: fields of the ELF header to set otherwise. symbols: (name, value, info, section index)."""

    parts: tuple[Part, ...] = (Part(),)
    entry: int = MIB
    symbols: tuple[tuple[str, int, int, int], ...] = ()
    header: dict[str, Any] = field(default_factory=dict)

    def having(self, **header: Any) -> TinyElf:
        return replace(self, header={**self.header, **header})

    def build(self) -> bytes:
        headers, contents = b"", b""
        start = 64 + 56 * len(self.parts)
        for part in self.parts:
            offset = start + len(contents) if part.offset is None else part.offset
            filesz = len(part.data) if part.filesz is None else part.filesz
            memsz = filesz if part.memsz is None else part.memsz
            paddr = part.vaddr if part.paddr is None else part.paddr
            headers += struct.pack("<IIQQQQQQ", part.kind, part.flags, offset, part.vaddr, paddr, filesz, memsz, 1)
            contents += part.data
        sections = self._sections(start + len(contents))
        fields: dict[str, Any] = {
            "magic": b"\x7fELF", "bits": 2, "endian": 1, "type": 2, "machine": 62, "entry": self.entry, "phoff": 64,
            "shoff": start + len(contents) + len(sections) - 64 * 3 if sections else 0, "phentsize": 56,
            "phnum": len(self.parts), "shentsize": 64, "shnum": 3 if sections else 0, "shstrndx": 0,
        } | self.header  # fmt: skip
        head = struct.pack(
            "<4sBBB9xHHIQQQIHHHHHH", fields["magic"], fields["bits"], fields["endian"], 1, fields["type"],
            fields["machine"], 1, fields["entry"], fields["phoff"], fields["shoff"], 0, 64, fields["phentsize"],
            fields["phnum"], fields["shentsize"], fields["shnum"], fields["shstrndx"],
        )  # fmt: skip
        return head + headers + contents + sections

    def _sections(self, at: int) -> bytes:
        """Symbol table, its strings, and three section headers: null, symbols, strings."""
        if not self.symbols:
            return b""
        strings, entries = b"\0", b""
        for name, value, info, index in self.symbols:
            entries += struct.pack("<IBBHQQ", len(strings), info, 0, index, value, 0)
            strings += name.encode() + b"\0"
        headers = bytes(64)
        headers += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, at, len(entries), 2, 0, 8, 24)
        headers += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(entries), len(strings), 0, 0, 1, 0)
        return entries + strings + headers


def note(owner: bytes, kind: int, descriptor: bytes) -> bytes:
    """One ELF note, padded."""

    def pad(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    return struct.pack("<III", len(owner), len(descriptor), kind) + pad(owner) + pad(descriptor)
