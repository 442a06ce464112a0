"""msgpack documents in and out of guest memory, bounded in size, in items and in depth.

A document in is plain data: None, bool, int, float, str, bytes, lists, and maps with str or bytes keys.
Extension types and timestamps are refused. Whatever is malformed is EINVAL; past the size bound, E2BIG.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import E2BIG, EINVAL
from typing import Annotated, Any, Final, TypeAlias

import msgpack

from hypercalls.arguments import BytesIn, Convert, GuestBuffer, Registers, gpa_and_bytes
from pv.exits import GuestError
from pv.memory import GuestMemory

DOCUMENT_MOST: Final = 64 << 10
DEPTH_MOST: Final = 32
# msgpack makes a list as long as its header claims before it sees one item, and nests to 1024: this bound
# keeps what a hostile document can make it set aside to 1024 * 4096 * 8 bytes, 32 MiB.
ITEMS_MOST: Final = 4096


def decode(data: bytes, *, depth_most: int = DEPTH_MOST, items_most: int = ITEMS_MOST) -> Any:
    """The object in `data`, which holds one document and nothing after it. Raises GuestError(EINVAL)."""
    try:
        found = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_str_len=len(data),
            max_bin_len=len(data),
            max_array_len=min(len(data), items_most),
            max_map_len=min(len(data), items_most),
            max_ext_len=0,
            ext_hook=refuse_extension,
        )
    except ValueError as error:  # every refusal of msgpack's is one, UnicodeDecodeError included
        raise GuestError(EINVAL, f"malformed document: {error}") from error
    if not within_depth(found, depth_most):
        raise GuestError(EINVAL, f"document is nested deeper than {depth_most}")
    return found


def refuse_extension(code: int, data: bytes) -> Any:  # noqa: ARG001 (msgpack's signature)
    """No extension has a meaning here, an empty one neither."""
    raise ValueError(f"extension type {code}")


def within_depth(found: Any, depth_most: int) -> bool:
    """Whether lists and maps nest at most `depth_most` deep. Level by level: a guest must not drive a recursion."""
    level = [found]
    for _ in range(depth_most + 1):
        level = [item for item in level if type(item) is list or type(item) is dict]
        if not level:
            return True
        level = [inner for item in level for inner in (item.values() if type(item) is dict else item)]
    return False


@dataclass(frozen=True, slots=True)
class DocumentIn:
    """gpa and length -> the object that the document there describes."""

    most: int = DOCUMENT_MOST
    depth_most: int = DEPTH_MOST
    items_most: int = ITEMS_MOST

    def registers(self, name: str) -> Registers:
        return gpa_and_bytes(name)

    def bind(self, memory: GuestMemory) -> Convert:
        copy_in = BytesIn(self.most).bind(memory)
        depth_most, items_most = self.depth_most, self.items_most

        def read_document(gpa: int, size_bytes: int) -> Any:
            return decode(copy_in(gpa, size_bytes), depth_most=depth_most, items_most=items_most)

        return read_document

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
