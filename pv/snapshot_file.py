"""How a snapshot lies in a file: a msgpack map that names itself, a checksum, and pages without those that are zero.

    {"magic": "pvkit snapshot", "version": 1, "checksum": SHA-256 of body, "body": msgpack}

The body is a map: shape, state and ending as their dataclasses have them; memory and tables each as {"size_bytes",
"numbers": the pages' numbers, 32 bits each, little-endian, "pages": their bytes in that order, deflated}. Every length
is checked against what it must be before anything of that size is made.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeVar

import msgpack

from pv.exits import StopWhy
from pv.memory import MAX_MEMORY_BYTES, PAGE_SIZE
from pv.pages import FrozenPages, PageFile, thaw
from pv.snapshot import PARTS, Ending, Shape, Snapshot, SnapshotError

MAGIC: Final = "pvkit snapshot"
VERSION: Final = 1
FILE_BYTES_MOST: Final = 1 << 32
LEVEL: Final = 1  # of deflate: pages of zero and code shrink at any
Made = TypeVar("Made")


def write_snapshot(snapshot: Snapshot, path: str | PathLike[str]) -> None:
    """Write the file beside its place and move it there: a reader never sees half. Raises OSError."""
    body = msgpack.packb(
        {
            "shape": asdict(snapshot.shape),
            "state": dict(snapshot.state),
            "ending": snapshot.ending and asdict(snapshot.ending),
            "memory": pack_pages(snapshot.memory),
            "tables": pack_pages(snapshot.tables),
        }
    )
    whole = {"magic": MAGIC, "version": VERSION, "checksum": hashlib.sha256(body).digest(), "body": body}
    target = Path(path)
    descriptor, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgpack.packb(whole))
        Path(beside).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(beside).unlink()
        raise


def pack_pages(frozen: FrozenPages) -> dict[str, Any]:
    numbers, deflate, pages = [], zlib.compressobj(LEVEL), []
    for number, page in frozen.filled():
        numbers.append(number)
        pages.append(deflate.compress(page))
    pages.append(deflate.flush())
    return {
        "size_bytes": frozen.size_bytes,
        "numbers": struct.pack(f"<{len(numbers)}I", *numbers),
        "pages": b"".join(pages),
    }


def read_snapshot(path: str | PathLike[str]) -> Snapshot:
    """Raises SnapshotError, naming the file and what is wrong with it; OSError where it cannot be read."""
    size_bytes = Path(path).stat().st_size
    if size_bytes > FILE_BYTES_MOST:
        raise SnapshotError(f"{path} has {size_bytes} bytes; a snapshot has {FILE_BYTES_MOST} at most")
    try:
        return parse_snapshot(Path(path).read_bytes())
    except SnapshotError as error:
        raise SnapshotError(f"{path} {error}") from None


def parse_snapshot(data: bytes) -> Snapshot:
    """The snapshot in `data`. Raises SnapshotError with a reason that follows the file's name."""
    whole = unpack(data, "is no snapshot of pvkit, or is cut short")
    if not isinstance(whole, dict) or whole.get("magic") != MAGIC:
        raise SnapshotError("is no snapshot of pvkit")
    if whole.get("version") != VERSION:
        raise SnapshotError(f"is a snapshot of format {str(whole.get('version'))[:20]}; this pvkit reads {VERSION}")
    body = whole.get("body")
    if not isinstance(body, bytes) or hashlib.sha256(body).digest() != whole.get("checksum"):
        raise SnapshotError("is damaged: its checksum is not that of its content")
    parts = unpack(body, "holds no snapshot")
    try:
        shape = make(Shape, parts["shape"])
        state = parts["state"]
        if not isinstance(state, dict) or set(state) != set(PARTS) or not isinstance(state["processor"], dict):
            raise SnapshotError("has not every part of a machine")
        ending = None if parts["ending"] is None else make(Ending, parts["ending"])
        if ending is not None and ending.why not in StopWhy.__members__:
            raise SnapshotError("ended in no way that there is")
        file = PageFile()
        memory = unpack_pages(file, 0, parts["memory"])
        tables = unpack_pages(file, memory.size_bytes, parts["tables"])
    except (KeyError, TypeError) as error:
        raise SnapshotError(f"lacks something that a snapshot has: {error}") from None
    if memory.size_bytes != shape.memory_bytes:
        raise SnapshotError(f"holds {memory.size_bytes} bytes of memory, where its machine had {shape.memory_bytes}")
    return Snapshot(shape, state, memory, tables, ending, trusted=False)


def unpack(data: bytes, otherwise: str) -> Any:
    """Raises SnapshotError(otherwise) for what is no msgpack."""
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):  # TypeError: a key that cannot be one
        raise SnapshotError(otherwise) from None


CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "str": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int,
    "float": lambda value: isinstance(value, float),
    "int | None": lambda value: value is None or type(value) is int,
    "tuple[str, ...] | None": lambda value: value is None or is_list_of(value, str),
    "Mapping[str, int | float | str]": lambda value: is_map_of(value, int, float, str, bool),
    "Mapping[str, int]": lambda value: is_map_of(value, int),
    "Mapping[str, str]": lambda value: is_map_of(value, str),
}


def is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(one) is kind for one in value)


def is_map_of(value: Any, *kinds: type) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) and type(one) in kinds for name, one in value.items())


def make(kind: type[Made], values: Any) -> Made:
    """A dataclass of the map that it was saved as. Raises SnapshotError where a field is not of its type."""
    if not isinstance(values, dict):
        raise SnapshotError(f"has no {kind.__name__.lower()}")
    for field in fields(kind):  # type: ignore[arg-type]  # TypeVar cannot be bound to dataclasses
        if not CHECKS[str(field.type)](values.get(field.name)):
            raise SnapshotError(f"has no {field.name} in its {kind.__name__.lower()}")
    return kind(**{field.name: frozen(values[field.name]) for field in fields(kind)})  # type: ignore[arg-type]  # as above


def frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def unpack_pages(file: PageFile, offset: int, saved: Any) -> FrozenPages:
    """Pages from a file, at byte `offset` of `file`. Raises SnapshotError."""
    size_bytes, packed, deflated = saved["size_bytes"], saved["numbers"], saved["pages"]
    if type(size_bytes) is not int or not 0 < size_bytes <= 2 * MAX_MEMORY_BYTES or size_bytes % PAGE_SIZE:
        raise SnapshotError(f"has memory of {str(size_bytes)[:20]} bytes")
    if not isinstance(packed, bytes) or len(packed) % 4 or not isinstance(deflated, bytes):
        raise SnapshotError("does not say which pages it holds")
    numbers = [number for (number,) in struct.iter_unpack("<I", packed)]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise SnapshotError("has pages out of order")
    if numbers and numbers[-1] >= size_bytes // PAGE_SIZE:
        raise SnapshotError("has pages outside of its memory")
    return thaw(file, offset, size_bytes, zip(numbers, inflated(deflated, len(numbers)), strict=True))


def inflated(deflated: bytes, count: int) -> Iterator[bytes]:
    """`count` pages, one at a time: what a file claims to hold is never made at once. Raises SnapshotError."""
    inflate, left, page = zlib.decompressobj(), deflated, b""
    for _ in range(count):
        try:
            page = inflate.decompress(left, PAGE_SIZE)
            while len(page) < PAGE_SIZE and inflate.unconsumed_tail:
                page += inflate.decompress(inflate.unconsumed_tail, PAGE_SIZE - len(page))
        except zlib.error as error:
            raise SnapshotError(f"has pages that do not inflate: {error}") from None
        left = inflate.unconsumed_tail
        if len(page) != PAGE_SIZE:
            raise SnapshotError("has fewer pages than it says")
        yield page
