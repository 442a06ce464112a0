"""PIO transfers: blocks, DRQ and their interrupts, widths of the data port, and files that fail."""

from __future__ import annotations

import os
from errno import EIO
from pathlib import Path

import pytest

from pv.devices.ata_registers import Error, Register, Status
from pv.disk import Disk
from tests.pv.devices.ata_host import DRQ, ERR, IDLE, SECTOR, Host, make_disk


def sectors_of(first: int, count: int) -> bytes:
    return b"".join(sector.to_bytes(4, "little") * 128 for sector in range(first, first + count))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(make_disk(tmp_path, 512, "cow"))


@pytest.mark.parametrize("width", [2, 4])
def test_a_read_gives_each_sector_with_an_interrupt_and_none_at_the_end(host: Host, width: int) -> None:
    assert host.command(0x20, sector=9, count=3) == DRQ
    for sector in (9, 10, 11):
        assert host.line.level
        assert host[Register.STATUS] == DRQ
        assert not host.line.level
        assert host.take(SECTOR, width) == sectors_of(sector, 1)
    assert (host.alternate, host.line.level, host.line.rises) == (IDLE, False, 3)


def test_a_byte_of_the_data_port_is_half_a_word(host: Host) -> None:
    host.command(0x20, sector=0x1234, count=1)
    host.command(0x20, sector=0x123, count=1)
    assert [host.channel.read_data(0, 1) for _ in range(4)] == [0x23, 0, 0x23, 0]
    host.take(SECTOR - 8)
    assert host.alternate == IDLE


def test_a_write_takes_its_first_block_without_an_interrupt_and_the_others_with(host: Host) -> None:
    assert host.command(0x30, sector=20, count=2) == DRQ
    assert host.line.rises == 0
    host.give(b"a" * SECTOR)
    assert (host[Register.STATUS], host.line.rises) == (DRQ, 1)
    host.give(b"b" * SECTOR, width=4)
    assert (host[Register.STATUS], host.line.rises) == (IDLE, 2)
    host.command(0x20, sector=19, count=4)
    assert host.take_all()[0] == sectors_of(19, 1) + b"a" * SECTOR + b"b" * SECTOR + sectors_of(22, 1)


def test_a_byte_written_is_a_word(host: Host) -> None:
    host.command(0x30, sector=0, count=1)
    host.give(b"x" * (SECTOR // 2), width=1)
    assert host.alternate == IDLE
    host.command(0x20, sector=0, count=1)
    assert host.take(4) == b"x\0x\0"


def test_256_sectors_are_a_count_of_0(host: Host) -> None:
    host.command(0x20, sector=100, count=0)
    assert host.take_all() == (sectors_of(100, 256), 255)


def test_a_new_command_ends_a_transfer(host: Host) -> None:
    host.command(0x20, sector=1, count=2)
    host.take(10)
    host.command(0x20, sector=5, count=1)
    assert host.take(SECTOR) == sectors_of(5, 1)
    assert host.alternate == IDLE


def test_nothing_is_offered_outside_a_transfer(host: Host) -> None:
    assert host.take(4, width=4) == b"\xff" * 4
    host.give(b"lost")
    host.command(0x30, sector=0, count=1)
    assert host.take(2) == b"\xff\xff"
    host.command(0x20, sector=0, count=1)
    host.give(b"lost")
    assert host.take(SECTOR) == sectors_of(0, 1)


def test_a_disk_of_mode_ro_aborts_writes_before_any_data(tmp_path: Path) -> None:
    host = Host(make_disk(tmp_path, 8))
    assert host.command(0x30, sector=0, count=1) == ERR
    assert (host[Register.ERROR], host.line.level) == (Error.ABORTED, True)


def test_a_file_that_shrank_is_uncorrectable_where_it_ends(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, 64)
    host = Host(disk)
    os.truncate(disk.path, 10 * SECTOR + 7)
    assert host.command(0x20, sector=9, count=3) == DRQ
    host[Register.STATUS]
    assert host.take(SECTOR) == sectors_of(9, 1)
    assert (host.alternate, host[Register.ERROR], host[Register.LBA_LOW]) == (ERR, Error.UNCORRECTABLE, 10)
    assert host.line.level
    assert host.command(0x40, sector=4, count=20) == ERR
    assert (host[Register.ERROR], host[Register.LBA_LOW]) == (Error.UNCORRECTABLE, 10)


def test_a_file_that_cannot_be_read_is_uncorrectable(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, 8)
    host = Host(disk)
    disk.close()
    assert host.command(0x20, sector=2, count=1) == ERR
    assert (host[Register.ERROR], host[Register.LBA_LOW]) == (Error.UNCORRECTABLE, 2)


def test_a_file_that_cannot_be_written_is_a_device_fault(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, 8, "rw")
    host = Host(disk)
    disk.close()
    host.command(0x30, sector=3, count=2)
    host.give(bytes(SECTOR))
    assert host.alternate == ERR | Status.FAULT
    assert (host[Register.ERROR], host[Register.LBA_LOW], host.line.level) == (Error.ABORTED, 3, True)


class Cached(Disk):
    """A disk that counts how often it was flushed, and whose medium may be gone."""

    flushes = 0
    broken = False

    def flush(self) -> None:
        if self.broken:
            raise OSError(EIO, "medium gone")
        super().flush()
        self.flushes += 1


def test_a_flush_that_fails_is_a_device_fault(tmp_path: Path) -> None:
    disk = Cached(make_disk(tmp_path, 8, "rw").path, "rw")
    host = Host(disk)
    disk.broken = True
    assert host.command(0xE7) == ERR | Status.FAULT
    assert (host[Register.ERROR], host.line.level) == (Error.ABORTED, True)


def test_without_a_write_cache_each_write_is_flushed(tmp_path: Path) -> None:
    disk = Cached(make_disk(tmp_path, 8, "rw").path, "rw")
    host = Host(disk)
    for features, flushes in ((0x02, 0), (0x82, 1 + 1)):  # turning it off is a flush too
        host.command(0xEF, features=features)
        host.command(0x30, sector=1, count=2)
        host.give(bytes(2 * SECTOR))
        assert disk.flushes == flushes
