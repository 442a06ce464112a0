"""What is a document between host and guest? msgpack of plain data, bounded in size, in items and in depth.

Plain data: None, bool, int, float, str, bytes, lists, and maps with str or bytes keys. Extension types and timestamps
are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import EINVAL
from typing import Any, Final

import msgpack

from pv.exits import GuestError

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
class Document:
    """A value that a function of the guest is to get as a document; as `returns=`, a result that is one."""

    value: Any

    def encode(self) -> bytes:
        """The msgpack of it. Raises TypeError for what is no plain data, ValueError past a bound of msgpack's."""
        packed: bytes = msgpack.packb(self.value)
        return packed
