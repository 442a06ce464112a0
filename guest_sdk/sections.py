"""What lies in a guest's memory beside its code? Sections of labelled pieces, each section on pages of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from guest_sdk.errors import AssemblyError
from guest_sdk.expressions import Expression, Lookup
from guest_sdk.layout import check_align, pack

PAGE: Final = 4096
READ, WRITE, EXECUTE = 4, 2, 1  # as in an ELF program header


@dataclass(frozen=True, slots=True)
class Piece:
    """`content`: bytes as they are, values of (size_bytes, expression), or None for zeroes without file space."""

    label: str
    align: int
    size_bytes: int
    content: bytes | tuple[tuple[int, Expression], ...] | None


@dataclass(slots=True)
class Section:
    name: str
    flags: int
    pieces: list[Piece] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        check_align(piece.align)
        self.pieces.append(piece)

    def offsets(self) -> Iterator[tuple[int, Piece]]:
        """Each piece and where it starts in the section."""
        at = 0
        for piece in self.pieces:
            at += -at % piece.align
            yield at, piece
            at += piece.size_bytes

    @property
    def size_bytes(self) -> int:
        return max((at + piece.size_bytes for at, piece in self.offsets()), default=0)

    def render(self, lookup: Lookup) -> bytes:
        """The section's bytes in the file. Raises AssemblyError for a value that does not fit."""
        image = bytearray()
        for at, piece in self.offsets():
            if piece.content is None:
                continue
            image += bytes(at - len(image))
            if isinstance(piece.content, bytes):
                image += piece.content
                continue
            for size_bytes, expression in piece.content:
                try:
                    image += pack(expression.integer(lookup), size_bytes)
                except AssemblyError as error:
                    raise AssemblyError(error.reason, f"{piece.label}: {expression.text}") from error
        return bytes(image)


def page_after(address: int) -> int:
    return address + -address % PAGE
