"""Which loader reads this file? Its first bytes say; what has no known beginning is flat machine code."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pv.loaders.elf import load_elf
from pv.loaders.flat import load_flat
from pv.loaders.image import Image, LoadError

Loader = Callable[[bytes, int], Image]
"""loader(data, memory_bytes) -> Image. Raises LoadError and nothing else, whatever the bytes."""

CACHED_BYTES_MOST: Final = 1 << 18

LOADERS: Final[tuple[tuple[int, bytes, Loader], ...]] = ((0, b"\x7fELF", load_elf),)
REFUSED: Final = (  # (offset, magic, what it is): running these as machine code would help nobody
    (0x202, b"HdrS", "a Linux bzImage, which no loader here reads; give its uncompressed ELF executable"),
    (0, b"\x1f\x8b\x08", "compressed by gzip; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd; unpack it first"),
    (0, b"\xfd7zXZ\x00", "compressed by xz; unpack it first"),
    (0, b"!<arch>\n", "an archive of object files; link it into an ELF executable"),
    (0, b"\xcf\xfa\xed\xfe", "a Mach-O file; build the guest for x86-64 ELF"),
    (0, b"#!", "a script; give the guest that it builds"),
)


def sniff(data: bytes) -> Loader:
    """The loader for `data`. Raises LoadError where it is a format known not to be a guest."""
    for offset, magic, loader in LOADERS:
        if data.startswith(magic, offset):
            return loader
    for offset, magic, what in REFUSED:
        if data.startswith(magic, offset):
            raise LoadError(f"the guest is {what}")
    return load_flat


def load(data: bytes, memory_bytes: int) -> Image:
    """Sniff and load; a small file that was loaded of late gives the same Image. Raises LoadError."""
    return _load_small(data, memory_bytes) if len(data) <= CACHED_BYTES_MOST else sniff(data)(data, memory_bytes)


@lru_cache(maxsize=16)
def _load_small(data: bytes, memory_bytes: int) -> Image:
    """pyelftools takes half a millisecond on the smallest file; a laboratory runs the same few again and again."""
    return sniff(data)(data, memory_bytes)
