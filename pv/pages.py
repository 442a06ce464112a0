"""Where are a machine's pages, and how do many machines share them? Private mappings, frozen into files in memory.

Pages are anonymous memory at an address that never changes, since an engine holds pointers into it. freeze() writes
those that hold something to a memfd and maps that file in their place, privately: the machine goes on as before, and
what it writes from then on is its own copy. Who maps the same file later starts with the same bytes and shares them.

Linux alone: memfd_create(2), mmap(2) with MAP_FIXED, and PAGEMAP_SCAN (Linux 6.7) to ask which pages are the mapping's
own. Without that ioctl every page counts as written: slower, and the same result.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Final

PAGE_BYTES: Final = 4096
ZEROES: Final = bytes(PAGE_BYTES)
MAP_FIXED, MAP_NORESERVE = 0x10, 0x4000  # Linux; mmap names the second from Python 3.13 on
EXTENTS_MOST: Final = 64  # mappings of one file part: the kernel allows a process 65,530 in all
RUN_BYTES_MOST: Final = 1 << 20  # read or written at once
COPIED_MOST: Final = 512  # pages that a restore copies back one by one; past that it drops the mapping's own

Span = tuple[int, int]
"""Bytes start to end of some Pages, both multiples of a page."""

SCAN_REQUEST: Final = struct.Struct("<12Q")  # struct pm_scan_arg of linux/fs.h
SCAN_COMMAND: Final = 0xC060_6610  # PAGEMAP_SCAN: _IOWR('f', 16, struct pm_scan_arg)
SCAN_SPANS: Final = 1024  # struct page_region of one answer: three words each
IS_FILE, IS_PRESENT, IS_SWAPPED, IS_ZERO_PAGE = 1 << 2, 1 << 3, 1 << 4, 1 << 5

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
FAILED: Final = ctypes.c_void_p(-1).value


class PageFile:
    """A file in memory that closes itself when nobody holds it any more."""

    def __init__(self) -> None:
        self.descriptor: Final = os.memfd_create("pvkit", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)


class FrozenPages:
    """What some Pages held when they were frozen: `size_bytes` at byte `offset` of a file, zero outside `extents`.

    It never changes, and any number of Pages of that size may start from it.
    """

    def __init__(self, file: PageFile, offset: int, size_bytes: int, extents: Iterable[Span]) -> None:
        self.file: Final = file
        self.offset: Final = offset
        self.size_bytes: Final = size_bytes
        self.extents: Final = tuple(extents)
        self._shared: mmap.mmap | None = None

    def address(self) -> int:
        """Where this process has the bytes, to copy from: made at the first question."""
        if self._shared is None:
            self._shared = mmap.mmap(
                self.file.descriptor, self.size_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE,
                offset=self.offset,
            )  # fmt: skip
        return address_of(self._shared)

    def filled(self) -> Iterator[tuple[int, bytes]]:
        """The pages that are not all zero, by number."""
        for first, last in self.extents:
            for start in range(first, last, RUN_BYTES_MOST):
                data = os.pread(self.file.descriptor, min(RUN_BYTES_MOST, last - start), self.offset + start)
                for at in range(0, len(data), PAGE_BYTES):
                    page = data[at : at + PAGE_BYTES]
                    if page != ZEROES:
                        yield (start + at) // PAGE_BYTES, page


def thaw(file: PageFile, offset: int, size_bytes: int, pages: Iterable[tuple[int, bytes]]) -> FrozenPages:
    """FrozenPages of `size_bytes` that hold `pages` (number, content), which come in order. Raises OSError."""
    os.ftruncate(file.descriptor, max(os.fstat(file.descriptor).st_size, offset + size_bytes))
    spans = []
    for number, page in pages:
        os.pwrite(file.descriptor, page, offset + number * PAGE_BYTES)
        spans.append((number * PAGE_BYTES, (number + 1) * PAGE_BYTES))
    return FrozenPages(file, offset, size_bytes, merge(spans))


class Pages:
    """`size_bytes` of zeroed private memory at one address, or of what `frozen` holds. Raises OSError."""

    def __init__(self, size_bytes: int, frozen: FrozenPages | None = None) -> None:
        self.size_bytes: Final = size_bytes
        self._map = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        self._address: Final = address_of(self._map)
        self.view: Final = memoryview(self._map)
        self._frozen: FrozenPages | None = None
        if frozen is not None:
            self._map_extents(frozen)

    def freeze(self, file: PageFile, offset: int) -> FrozenPages:
        """Put the content at byte `offset` of `file`, and share it from there. Raises OSError.

        Where nothing was written since the last time, what was frozen then is given again.
        """
        own = self.written()
        if self._frozen is not None and own == []:
            return self._frozen
        os.ftruncate(file.descriptor, max(os.fstat(file.descriptor).st_size, offset + self.size_bytes))
        held = [] if self._frozen is None else list(self._frozen.extents)
        spans = []
        for start, end in [(0, self.size_bytes)] if own is None else union(held, own):
            for at in self._filled(start, end):
                os.pwrite(file.descriptor, self.view[at[0] : at[1]], offset + at[0])
                spans.append(at)
        frozen = FrozenPages(file, offset, self.size_bytes, merge(spans))
        self._map_extents(frozen)
        return frozen

    def restore(self, frozen: FrozenPages) -> list[Span] | None:
        """Hold what `frozen` holds. The spans that may have changed; None for all. Raises OSError."""
        if frozen is not self._frozen:
            self._map_extents(frozen)
            return None
        own = self.written()
        if own is None or sum(end - start for start, end in own) > COPIED_MOST * PAGE_BYTES:
            self._map.madvise(mmap.MADV_DONTNEED)  # private pages are dropped: what shows is the file, or zeroes
            return own
        source, target = frozen.address() if own else 0, self._address
        for start, end in own:  # a page that is the mapping's own stays so: no fault when it is written again
            ctypes.memmove(target + start, source + start, end - start)
        return own

    def written(self) -> list[Span] | None:
        """The spans that are this mapping's own: written since it was made or frozen. None where nobody can say."""
        return scan(self._address, self.size_bytes)

    def close(self) -> None:
        """Give the memory back. Who shares it by pointer must have let go before.

        A memoryview that somebody still holds keeps it until that is gone.
        """
        self.view.release()
        with suppress(BufferError):
            self._map.close()
        self._frozen = None

    def _filled(self, start: int, end: int) -> Iterator[Span]:
        """The runs of pages within a span that are not all zero."""
        view, run = self.view, None
        for at in range(start, end, PAGE_BYTES):
            filled = bytes(view[at : at + PAGE_BYTES]) != ZEROES  # memoryviews compare item by item
            if filled and run is None:
                run = at
            elif run is not None and (not filled or at - run >= RUN_BYTES_MOST):
                yield run, at
                run = at if filled else None
        if run is not None:
            yield run, end

    def _map_extents(self, frozen: FrozenPages) -> None:
        """Replace every page: the file where it holds something, fresh zeroes elsewhere.

        Copied, where the kernel has no more mappings for this process: the machine has its pages, and shares none.
        """
        if frozen.size_bytes != self.size_bytes:
            raise ValueError(f"pages of {frozen.size_bytes} bytes do not fit memory of {self.size_bytes}")
        anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        private = mmap.MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED
        map_at(self._address, self.size_bytes, anonymous, -1, 0)
        try:
            for start, end in frozen.extents:
                map_at(self._address + start, end - start, private, frozen.file.descriptor, frozen.offset + start)
            self._frozen = frozen
        except OSError:
            self._frozen = None  # all that holds something is the mapping's own from here on
            for number, page in frozen.filled():
                self.view[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = page


def address_of(mapping: mmap.mmap) -> int:
    """Where the mapping lies."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def map_at(address: int, size_bytes: int, flags: int, descriptor: int, offset: int) -> None:
    """mmap(2) over a mapping of ours. Raises OSError."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    if _libc.mmap(address, size_bytes, protection, flags, descriptor, offset) == FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot map {size_bytes} bytes of a snapshot: {os.strerror(number)}")


def merge(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, brought down to EXTENTS_MOST by closing gaps, the smallest first in powers of two."""
    merged = list(spans)
    gap = 0
    while True:
        joined: list[Span] = []
        for start, end in merged:
            if joined and start - joined[-1][1] <= gap:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        merged = joined
        if len(merged) <= EXTENTS_MOST:
            return merged
        gap = max(PAGE_BYTES, 2 * gap)


def union(one: Iterable[Span], other: Iterable[Span]) -> list[Span]:
    """All that lies in either, in order."""
    joined: list[Span] = []
    for start, end in sorted([*one, *other]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


@cache
def _pagemap(process: int) -> int:  # noqa: ARG001  (a forked child has a map of its own)
    return os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)


def scan(address: int, size_bytes: int) -> list[Span] | None:
    """Which spans of a private mapping are its own pages: neither a file's nor the zero page. None: cannot be said."""
    spans: list[Span] = []
    answer = (ctypes.c_uint64 * (3 * SCAN_SPANS))()
    start, end = address, address + size_bytes
    not_wanted = IS_FILE | IS_ZERO_PAGE
    while start < end:
        wanted = (not_wanted, not_wanted, IS_PRESENT | IS_SWAPPED, IS_PRESENT)  # inverted, all of, any of, told
        head = (SCAN_REQUEST.size, 0, start, end, 0, ctypes.addressof(answer), SCAN_SPANS, 0)
        request = bytearray(SCAN_REQUEST.pack(*head, *wanted))
        try:
            found = fcntl.ioctl(_pagemap(os.getpid()), SCAN_COMMAND, request)
        except OSError:
            return None
        for index in range(found):
            first, last = answer[3 * index] - address, answer[3 * index + 1] - address
            if spans and spans[-1][1] == first:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
        start = SCAN_REQUEST.unpack(request)[4] or end  # walk_end
    return spans
