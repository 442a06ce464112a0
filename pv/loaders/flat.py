"""How is a file without a format loaded? As it is, at the lowest address that guests have, to be run from there."""

from __future__ import annotations

from guest_sdk.abi import LOAD_FIRST
from pv.loaders.image import Image, LoadError, Segment, outside


def load_flat(data: bytes, memory_bytes: int) -> Image:
    """One segment with all rights; its first byte is the entry. Raises LoadError where it is empty or too large."""
    if not data:
        raise LoadError("the guest is an empty file; give an ELF executable or raw machine code")
    segment = Segment(LOAD_FIRST, data, len(data), writable=True, executable=True)
    if segment.end > memory_bytes:
        raise LoadError(outside(segment, memory_bytes))
    return Image(LOAD_FIRST, (segment,))
