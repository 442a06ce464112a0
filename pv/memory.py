"""Guest-physical memory: pages that the machine owns and the engine shares by pointer.

The one class that follows a guest address. Every access checks bounds and overflow and copies; what a
caller then validates is the copy, which the guest cannot change.
"""

from __future__ import annotations

import mmap
import os
import re
from contextlib import suppress
from errno import EFAULT
from typing import Final

from pv.exits import GuestError
from pv.pages import FrozenPages, Pages

PAGE_SIZE: Final = 4096
MAX_MEMORY_BYTES: Final = 1 << 36  # the monitor's own pages start here, where no guest entry points
MAP_NORESERVE: Final = 0x4000  # Linux; mmap names it from Python 3.13 on. Memory is committed as it is touched
SHARED_FLAGS: Final = mmap.MAP_SHARED | MAP_NORESERVE
UNITS: Final = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str | int) -> int:
    """Bytes in a size such as 16MiB, 512K or 4096. Raises ValueError with what is accepted."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*(\d+)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not match:
        raise ValueError(f"size {text!r} is not a number with an optional K, M, G or T (such as 16MiB)")
    return int(match[1]) * UNITS[match[2].upper()]


class GuestMemory:
    """`size_bytes` of guest-physical memory at gpa 0, rounded up to a page: zeroed, or as `frozen` has it.

    descriptor: a file whose first bytes the memory is, shared with whoever else maps it; it is made long enough, and
    stays the caller's to close. Without one the memory is this process's own.
    Raises GuestError(EFAULT) on any access that does not lie wholly inside.
    """

    def __init__(self, size_bytes: int, descriptor: int = -1, frozen: FrozenPages | None = None) -> None:
        if not PAGE_SIZE * 256 <= size_bytes <= MAX_MEMORY_BYTES:
            raise ValueError(f"memory of {size_bytes} bytes is not between 1MiB and 64GiB")
        self.size_bytes: Final = -(-size_bytes // PAGE_SIZE) * PAGE_SIZE
        self._pages = Pages(self.size_bytes, frozen) if descriptor < 0 else None
        if descriptor >= 0:
            if os.fstat(descriptor).st_size < self.size_bytes:
                os.ftruncate(descriptor, self.size_bytes)
            self._map = mmap.mmap(descriptor, self.size_bytes, flags=SHARED_FLAGS)
        self.view: Final = memoryview(self._map) if self._pages is None else self._pages.view

    @property
    def pages(self) -> Pages:
        """The pages that snapshots share. Raises ValueError for memory that another process has as well."""
        if self._pages is None:
            raise ValueError("memory that is shared with another process has no snapshot")
        return self._pages

    def _check(self, gpa: int, size_bytes: int) -> None:
        if gpa < 0 or size_bytes < 0 or gpa + size_bytes > self.size_bytes:
            raise GuestError(EFAULT, f"gpa {gpa:#x}+{size_bytes:#x} is outside guest memory")

    def read(self, gpa: int, size_bytes: int) -> bytes:
        """A copy of `size_bytes` at `gpa`."""
        self._check(gpa, size_bytes)
        return bytes(self.view[gpa : gpa + size_bytes])

    def write(self, gpa: int, data: bytes | bytearray | memoryview) -> None:
        """Copy `data` to `gpa`. Code the engine has translated there is not noticed: see Machine.patch."""
        self._check(gpa, len(data))
        self.view[gpa : gpa + len(data)] = data

    def read_uint(self, gpa: int, size_bytes: int) -> int:
        """The little-endian unsigned integer of `size_bytes` at `gpa`."""
        return int.from_bytes(self.read(gpa, size_bytes), "little")

    def write_uint(self, gpa: int, size_bytes: int, value: int) -> None:
        """Write `value` as a little-endian unsigned integer of `size_bytes` at `gpa`."""
        self.write(gpa, value.to_bytes(size_bytes, "little"))

    def close(self) -> None:
        """Give the mapping back. The engine that shares it must be closed before."""
        if self._pages is not None:
            self._pages.close()
        else:
            self.view.release()
            with suppress(BufferError):  # of whom a memoryview is left: the mapping goes with it
                self._map.close()
