"""A guest's file is read whole; devices, endless streams and giants are refused before memory is spent."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pv.loaders import LoadError, file
from pv.loaders.file import FILE_BYTES_MOST, read_guest


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    guest = tmp_path / "guest"
    guest.write_bytes(b"\xf4" * 70000)
    assert read_guest(guest) == b"\xf4" * 70000
    assert read_guest(str(guest)) == b"\xf4" * 70000


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"\x90" * 200000,))
    writer.start()
    assert read_guest(pipe) == b"\x90" * 200000
    writer.join()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(LoadError, match=f"{device} is a device, not a file"):
        read_guest(device)


def test_a_giant_is_refused_by_its_size(tmp_path: Path) -> None:
    giant = tmp_path / "giant"
    with giant.open("wb") as sparse:
        sparse.truncate(FILE_BYTES_MOST + 1)
    with pytest.raises(LoadError, match="giant is larger than 1 GiB"):
        read_guest(giant)


def test_a_stream_is_read_no_further_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "FILE_BYTES_MOST", 5000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as end:
            end.write(bytes(6000))

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(LoadError, match="larger than"):
        read_guest(pipe)
    writer.join()


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_cannot_be_read_is_an_oserror(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        read_guest(tmp_path / name)
