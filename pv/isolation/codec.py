"""What crosses between a machine and its worker process, as bytes: plain data and the value classes named here.

msgpack with extension types for what it does not know: tuples, sets, the dataclasses and enumerations in RECORDS.
Nothing else is ever made of what arrives, so a worker that went wrong can send wrong values but no code.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgpack

from pv.engines.base import Latency, RecordedExit
from pv.exits import Exit, Reply, StopWhy
from pv.loaders.image import Image, Segment
from pv.outcome import ExitCounts, Outcome

TUPLE, SET, RECORD, MEMBER, COUNTS = 1, 2, 3, 4, 5
RECORDS: Final[dict[str, type[Any]]] = {
    one.__name__: one for one in (Outcome, Latency, RecordedExit, Reply, Exit, Image, Segment)
}
MEMBERS: Final[dict[str, type[enum.Enum]]] = {StopWhy.__name__: StopWhy}


class CodecError(ValueError):
    """A value that cannot cross, or bytes that are none."""


def pack(value: Any) -> bytes:
    """`value` as bytes. Raises CodecError for what cannot cross, naming its type."""
    try:
        packed: bytes = msgpack.packb(value, default=_extend, strict_types=True)
    except (OverflowError, ValueError, TypeError) as error:
        raise CodecError(f"cannot be handed to another process: {error}") from error
    return packed


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """The value in `data`. Raises CodecError."""
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=_rebuild)
    except CodecError:
        raise
    except Exception as error:  # msgpack's own, and whatever a class says of fields that are not its
        raise CodecError(f"not a message: {type(error).__name__}: {error}") from error


def _extend(value: Any) -> Any:
    kind = type(value)
    if kind is tuple:
        return msgpack.ExtType(TUPLE, pack(list(value)))
    if kind in (set, frozenset):
        return msgpack.ExtType(SET, pack(list(value)))
    if kind is ExitCounts:
        return msgpack.ExtType(COUNTS, pack(dict(value)))
    if RECORDS.get(kind.__name__) is kind:
        fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return msgpack.ExtType(RECORD, pack([kind.__name__, *fields]))
    if MEMBERS.get(kind.__name__) is kind:
        return msgpack.ExtType(MEMBER, pack([kind.__name__, value.name]))
    if isinstance(value, enum.IntEnum):
        return int(value)
    if isinstance(value, MappingProxyType | Mapping):
        return dict(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    for plain in (int, str):  # of a class of its own: the value is what counts
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"a {kind.__name__}")


def _rebuild(code: int, data: bytes) -> Any:
    found = unpack(data)
    if code == COUNTS and isinstance(found, dict):
        return ExitCounts(found)
    if not isinstance(found, list):
        raise CodecError(f"not a message: extension {code} holds a {type(found).__name__}")
    if code == TUPLE:
        return tuple(found)
    if code == SET:
        return set(found)
    if code == RECORD and found and found[0] in RECORDS:
        return RECORDS[found[0]](*found[1:])
    if code == MEMBER and len(found) == 2 and found[0] in MEMBERS:
        return MEMBERS[found[0]][found[1]]
    raise CodecError(f"not a message: extension {code} of {found[:1]!r}")
