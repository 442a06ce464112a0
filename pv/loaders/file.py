"""How is a guest's file read? In one go and bounded: a device, or a stream without an end, is refused."""

from __future__ import annotations

import os
import stat
from os import PathLike
from pathlib import Path
from typing import Final

from pv.loaders.image import LoadError

FILE_BYTES_MOST: Final = 1 << 30  # debug sections may make a file larger than the memory it goes to


def read_guest(path: str | PathLike[str]) -> bytes:
    """The bytes of the file, or of the pipe, at `path`.

    Raises LoadError for what is neither and for what is too large, OSError where it cannot be read.
    """
    with Path(path).open("rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISFIFO(found.st_mode)):
            raise LoadError(f"{path} is a device, not a file; give an ELF executable or raw machine code")
        if found.st_size > FILE_BYTES_MOST:
            raise LoadError(too_large(path))
        data = bytearray()
        while part := file.read(FILE_BYTES_MOST + 1 - len(data)):
            data += part
            if len(data) > FILE_BYTES_MOST:
                raise LoadError(too_large(path))
    return bytes(data)


def too_large(path: str | PathLike[str]) -> str:
    """The line that says that the file at `path` is too large."""
    return f"{path} is larger than {FILE_BYTES_MOST >> 30} GiB, which no guest is; strip it, or give another file"
