"""What is behind a guest's disk: a file of whole sectors, read in place, and what may be written to it.

A mode says where writes go. `ro`: nowhere, they are refused. `rw`: to the file. `cow`: to memory, gone with the
machine; snapshots and forks carry them along. Reads go from the page cache into guest memory with one copy.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from typing import Any, Final

from guest_sdk.abi import SECTOR_BYTES

MODES: Final = ("ro", "rw", "cow")
EXTENT_BYTES: Final = 1 << 16  # what a copy-on-write disk keeps in one piece


class DiskError(ValueError):
    """A file that cannot be a disk: which, why, and what to do."""


class Disk:
    """A disk on the file at `path`, in one of MODES. Raises DiskError."""

    def __init__(self, path: str | os.PathLike[str], mode: str = "ro") -> None:
        if mode not in MODES:
            raise DiskError(f"disk {path}: mode {mode!r} is none of {', '.join(MODES)}")
        self.path: Final = os.fspath(path)
        self.mode: Final = mode
        self._descriptor = -1
        try:
            self._descriptor = os.open(self.path, (os.O_RDWR if mode == "rw" else os.O_RDONLY) | os.O_CLOEXEC)
            found = os.fstat(self._descriptor)
            # A block device has no size of its own in stat: where its end is says lseek.
            size_bytes = os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            self.close()
            raise DiskError(f"disk {self.path}: {(error.strerror or str(error)).lower()}") from error
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            self.close()
            raise DiskError(f"disk {self.path}: neither a file nor a block device")
        if not size_bytes or size_bytes % SECTOR_BYTES:
            self.close()
            raise DiskError(
                f"disk {self.path}: {size_bytes} bytes are not whole sectors of {SECTOR_BYTES}; "
                f"`truncate -s %{SECTOR_BYTES}` fills the last one up"
            )
        self.size_bytes: Final = size_bytes
        self.written: dict[int, bytearray] = {}  # extents that a cow disk holds in memory, by number

    @property
    def read_only(self) -> bool:
        return self.mode == "ro"

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from byte `offset`. The bytes read; fewer than asked for only past a file that shrank.

        The caller has checked that the span is inside the disk. Raises OSError.
        """
        if self.written:
            return self._read_extents(view, offset)
        return os.preadv(self._descriptor, [view], offset)

    def write_from(self, view: memoryview, offset: int) -> int:
        """Write `view` at byte `offset`. The bytes written. Raises OSError; a disk of mode ro is never asked."""
        if self.mode == "rw":
            return os.pwritev(self._descriptor, [view], offset)
        for extent, at, start, size in spans(offset, len(view)):
            if extent not in self.written:
                # As long as the disk had it, though the file may have shrunk since: what is gone reads as zeroes.
                whole = self._extent_bytes(extent)
                held = os.pread(self._descriptor, whole, extent * EXTENT_BYTES)
                self.written[extent] = bytearray(held.ljust(whole, b"\0"))
            self.written[extent][at : at + size] = view[start : start + size]
        return len(view)

    def save(self) -> dict[str, Any]:
        """Which file this is, as it is now, and what was written over it."""
        return {
            "path": self.path,
            "mode": self.mode,
            "size_bytes": self.size_bytes,
            "modified_ns": os.fstat(self._descriptor).st_mtime_ns,
            "written": {number: bytes(extent) for number, extent in self.written.items()},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take what was written. Raises DiskError where the file is another, or has changed since."""
        now = self.save()
        for what in ("mode", "size_bytes", "modified_ns"):
            if saved.get(what) != now[what]:
                raise DiskError(
                    f"disk {self.path}: its {what} is {now[what]}, where the snapshot has {str(saved.get(what))[:40]}; "
                    "a snapshot goes with the file as it was"
                )
        written, extents = saved.get("written"), -(-self.size_bytes // EXTENT_BYTES)
        if not isinstance(written, dict) or not all(
            type(number) is int
            and 0 <= number < extents
            and isinstance(extent, bytes)
            and len(extent) == self._extent_bytes(number)
            for number, extent in written.items()
        ):
            raise DiskError(f"disk {self.path}: the snapshot does not say what was written to it")
        self.written = {number: bytearray(extent) for number, extent in written.items()}

    def flush(self) -> None:
        """Have what was written to the file reach its medium. Raises OSError."""
        if self.mode == "rw":
            if self._descriptor < 0:  # which fdatasync would call a ValueError
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the file back; what a cow disk was written is gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self.written = {}

    def _extent_bytes(self, number: int) -> int:
        return min(EXTENT_BYTES, self.size_bytes - number * EXTENT_BYTES)

    def _read_extents(self, view: memoryview, offset: int) -> int:
        done = 0
        for extent, at, start, size in spans(offset, len(view)):
            if extent in self.written:
                view[start : start + size] = self.written[extent][at : at + size]
                done += size
            else:
                done += os.preadv(self._descriptor, [view[start : start + size]], offset + start)
        return done


def spans(offset: int, size_bytes: int) -> Iterable[tuple[int, int, int, int]]:
    """The extents under a span: (extent, where in it, where in the span, bytes)."""
    start = 0
    while start < size_bytes:
        extent, at = divmod(offset + start, EXTENT_BYTES)
        size = min(EXTENT_BYTES - at, size_bytes - start)
        yield extent, at, start, size
        start += size


def as_disk(disk: Disk | str | os.PathLike[str]) -> Disk:
    """A Disk as it is; of `FILE` or `FILE:MODE`, one opened here. Raises DiskError, TypeError."""
    if isinstance(disk, Disk):
        return disk
    if not isinstance(disk, str | os.PathLike):
        raise TypeError(f"disks: {disk!r} is no disk; give Disk(path, mode), 'FILE' or 'FILE:rw'")
    path, colon, mode = os.fspath(disk).rpartition(":")
    return Disk(path, mode) if colon and mode in MODES else Disk(disk)
