"""msgpack documents in and out of guest memory, bounded in size, in items and in depth.

What a document is stands in pv.document. Whatever is malformed is EINVAL; past the size bound, E2BIG.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import E2BIG
from typing import Annotated, Any, TypeAlias

import msgpack

from hypercalls.arguments import BytesIn, Convert, GuestBuffer, Registers, gpa_and_bytes
from pv.document import DEPTH_MOST, DOCUMENT_MOST, ITEMS_MOST, decode
from pv.exits import GuestError
from pv.memory import GuestMemory


@dataclass(frozen=True, slots=True)
class DocumentIn:
    """gpa and length -> the object that the document there describes."""

    most: int = DOCUMENT_MOST
    depth_most: int = DEPTH_MOST
    items_most: int = ITEMS_MOST

    def registers(self, name: str) -> Registers:
        return gpa_and_bytes(name)

    def bind(self, memory: GuestMemory) -> Convert:
        copy_in, decode_within = BytesIn(self.most).bind(memory), self.decode

        def read_document(gpa: int, size_bytes: int) -> Any:
            return decode_within(copy_in(gpa, size_bytes))

        return read_document

    def decode(self, data: bytes) -> Any:
        """The object in `data`, within the bounds. Raises GuestError(EINVAL)."""
        return decode(data, depth_most=self.depth_most, items_most=self.items_most)

    def describe(self) -> str:
        return f"msgpack document, at most {self.most} bytes"


class ReplyDocument:
    """Where a handler sends its document: a buffer that the guest named, known to lie inside memory."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: GuestBuffer) -> None:
        self._buffer = buffer

    @property
    def capacity(self) -> int:
        return self._buffer.capacity

    def send(self, found: Any) -> int:
        """Write `found` as msgpack; bytes written. Raises GuestError(E2BIG) where the buffer is too small."""
        packed: bytes = msgpack.packb(found)
        if len(packed) > self._buffer.capacity:
            raise GuestError(E2BIG, f"document of {len(packed)} bytes, buffer of {self._buffer.capacity}")
        return self._buffer.write(packed)


@dataclass(frozen=True, slots=True)
class DocumentOut:
    """gpa and capacity -> ReplyDocument."""

    def registers(self, name: str) -> Registers:
        return gpa_and_bytes(name)

    def bind(self, memory: GuestMemory) -> Callable[[int, int], ReplyDocument]:
        return lambda gpa, capacity: ReplyDocument(GuestBuffer(memory, gpa, capacity))

    def describe(self) -> str:
        return "buffer for a msgpack document"


Document: TypeAlias = Annotated[Any, DocumentIn()]
