"""Disks on real files: each mode's writes, spans over extents, and files that cannot be disks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.disk import EXTENT_BYTES, Disk, DiskError, as_disk, spans

SECTOR = 512


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * 1024)  # 256 KiB: four extents
    return path


def read(disk: Disk, offset: int, size: int) -> bytes:
    data = bytearray(size)
    assert disk.read_into(memoryview(data), offset) == size
    return bytes(data)


@pytest.mark.parametrize("mode", ["ro", "rw", "cow"])
def test_reads_what_the_file_holds(image: Path, mode: str) -> None:
    disk = Disk(image, mode)
    assert disk.size_bytes == 256 * 1024
    assert read(disk, EXTENT_BYTES - SECTOR, 2 * SECTOR) == bytes(range(256)) * 4
    assert disk.read_only == (mode == "ro")
    disk.close()


def test_rw_writes_to_the_file(image: Path) -> None:
    disk = Disk(image, "rw")
    assert disk.write_from(memoryview(b"x" * SECTOR), SECTOR) == SECTOR
    disk.flush()
    disk.close()
    assert image.read_bytes()[SECTOR : 2 * SECTOR] == b"x" * SECTOR


def test_cow_writes_to_memory_only(image: Path) -> None:
    before = image.read_bytes()
    disk = Disk(image, "cow")
    at = EXTENT_BYTES - SECTOR  # over an extent's end
    disk.write_from(memoryview(b"y" * 2 * SECTOR), at)
    assert read(disk, at, 2 * SECTOR) == b"y" * 2 * SECTOR
    assert read(disk, at - SECTOR, SECTOR) == before[at - SECTOR : at]
    assert read(disk, 3 * EXTENT_BYTES, SECTOR) == before[3 * EXTENT_BYTES :][:SECTOR]
    disk.flush()
    disk.close()
    assert image.read_bytes() == before
    assert disk.written == {}


@given(offset=st.integers(0, 1 << 20), size=st.integers(0, 1 << 18))
def test_spans_cover_every_byte_once(offset: int, size: int) -> None:
    at = 0
    for extent, inside, start, length in spans(offset, size):
        assert start == at
        assert extent * EXTENT_BYTES + inside == offset + start
        assert 0 < length <= EXTENT_BYTES - inside
        at += length
    assert at == size


def test_a_shrunk_file_gives_fewer_bytes(image: Path) -> None:
    disk = Disk(image)
    os.truncate(image, SECTOR)
    assert disk.read_into(memoryview(bytearray(2 * SECTOR)), 0) == SECTOR
    disk.close()


@pytest.mark.parametrize("now", [SECTOR, 1 << 20])
def test_a_write_lands_where_it_belongs_though_the_file_changed_its_size(image: Path, now: int) -> None:
    disk = Disk(image, "cow")
    os.truncate(image, now)
    last = disk.size_bytes - SECTOR
    assert disk.write_from(memoryview(b"z" * SECTOR), last) == SECTOR
    assert read(disk, last, SECTOR) == b"z" * SECTOR
    assert len(disk.written[last // EXTENT_BYTES]) == EXTENT_BYTES
    disk.close()


@pytest.mark.parametrize("size", [0, SECTOR, EXTENT_BYTES + SECTOR])
def test_a_saved_extent_of_another_size_is_refused(image: Path, size: int) -> None:
    disk = Disk(image, "cow")
    disk.write_from(memoryview(b"y" * SECTOR), 0)
    saved = disk.save()
    disk.restore(saved)
    with pytest.raises(DiskError, match="does not say what was written"):
        disk.restore({**saved, "written": {0: b"y" * size}})
    disk.close()


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "0 bytes are not whole sectors"), (b"x" * 100, "100 bytes are not whole sectors")]
)
def test_a_file_of_no_whole_sectors_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "odd"
    path.write_bytes(content)
    with pytest.raises(DiskError, match=says):
        Disk(path)


def test_what_is_no_disk_is_refused(tmp_path: Path, image: Path) -> None:
    with pytest.raises(DiskError, match="no such file"):
        Disk(tmp_path / "absent")
    with pytest.raises(DiskError, match="neither a file nor"):
        Disk("/dev/null")
    with pytest.raises(DiskError, match="'wr' is none of ro, rw, cow"):
        Disk(image, "wr")
    with pytest.raises(TypeError, match="is no disk"):
        as_disk(3)  # type: ignore[arg-type]


def test_as_disk_takes_a_path_with_a_mode(image: Path) -> None:
    for given_, mode in ((str(image), "ro"), (f"{image}:cow", "cow"), (image, "ro")):
        disk = as_disk(given_)
        assert (disk.path, disk.mode) == (str(image), mode)
        disk.close()
    own = Disk(image)
    assert as_disk(own) is own
    own.close()
