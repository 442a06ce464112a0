"""Each command of an ATA disk, and that all others are aborted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pv.devices.ata_commands import COMMANDS, EXECUTE_DEVICE_DIAGNOSTIC
from pv.devices.ata_registers import COMMAND, Error, Register
from tests.pv.devices.ata_host import DRQ, ERR, IDLE, SECTOR, Host, make_disk

SECTORS = 256


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(make_disk(tmp_path, SECTORS, "cow"))


def numbers(data: bytes) -> list[int]:
    """The number that each sector holds."""
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), SECTOR)]


@pytest.mark.parametrize("number", [n for n in range(0x100) if n not in COMMANDS and n != EXECUTE_DEVICE_DIAGNOSTIC])
def test_a_command_that_is_not_there_is_aborted(host: Host, number: int) -> None:
    assert host.command(number) == ERR
    assert (host[Register.ERROR], host.line.level) == (Error.ABORTED, True)


@pytest.mark.parametrize("number", [0x20, 0x21])
def test_read_sectors(host: Host, number: int) -> None:
    host.command(number, sector=200, count=3)
    assert numbers(host.take_all()[0]) == [200, 201, 202]


def test_read_sectors_ext(host: Host) -> None:
    host.extended(0x24, sector=10, count=2)
    assert numbers(host.take_all()[0]) == [10, 11]
    assert host.extended(0x24, sector=0x12_3456_789A, count=0x101) == ERR
    assert (host[Register.ERROR], host[Register.LBA_HIGH]) == (Error.NO_SUCH_ADDRESS, 0x56)
    host.control(0x80)
    assert host[Register.LBA_MID] == 0x12


def test_an_error_is_gone_after_the_next_command(host: Host) -> None:
    assert host.command(0x20, sector=SECTORS, count=1) == ERR
    assert (host.command(0xE7), host[Register.ERROR]) == (IDLE, 0)


def test_a_sector_by_cylinder_head_and_sector(host: Host) -> None:
    host[Register.COUNT], host[Register.LBA_LOW], host[Register.DEVICE] = 1, 5, 2  # head 2, sector 5
    host[COMMAND] = 0x20
    assert numbers(host.take_all()[0]) == [2 * 63 + 4]


@pytest.mark.parametrize("number", [0xC4, 0xC5])
def test_multiple_is_aborted_until_it_is_set(host: Host, number: int) -> None:
    assert host.command(number, count=1) == ERR
    assert host[Register.ERROR] == Error.ABORTED


@pytest.mark.parametrize("extended", [False, True])
def test_read_multiple_interrupts_once_a_block_and_the_last_may_be_short(host: Host, extended: bool) -> None:
    assert host.command(0xC6, count=8) == IDLE
    host[Register.STATUS]
    rises = host.line.rises
    if extended:
        host.extended(0x29, sector=1, count=20)
    else:
        host.command(0xC4, sector=1, count=20)
    data = b""
    for sectors in (8, 8, 4):
        assert host[Register.STATUS] == DRQ
        data += host.take(sectors * SECTOR)
    assert (numbers(data), host.alternate, host.line.rises - rises) == ([*range(1, 21)], IDLE, 3)


@pytest.mark.parametrize("extended", [False, True])
def test_write_multiple_takes_blocks(host: Host, extended: bool) -> None:
    host.command(0xC6, count=4)
    host[Register.STATUS]
    rises = host.line.rises
    if extended:
        host.extended(0x39, sector=30, count=6)
    else:
        host.command(0xC5, sector=30, count=6)
    for sectors in (4, 2):
        host.give(b"\7\0\0\0" * (sectors * SECTOR // 4))
        host[Register.STATUS]
    assert (host.alternate, host.line.rises - rises) == (IDLE, 2)
    host.command(0x20, sector=29, count=8)
    assert numbers(host.take_all()[0]) == [29, *[7] * 6, 36]


@pytest.mark.parametrize("number", [0x30, 0x31])
def test_write_sectors(host: Host, number: int) -> None:
    host.command(number, sector=3, count=1)
    host.give(b"\1\0\0\0" * 128)
    host.command(0x20, sector=3, count=1)
    assert numbers(host.take_all()[0]) == [1]


def test_write_sectors_ext(host: Host) -> None:
    host.extended(0x34, sector=3, count=1)
    host.give(b"\2\0\0\0" * 128)
    host.command(0x20, sector=3, count=1)
    assert numbers(host.take_all()[0]) == [2]


@pytest.mark.parametrize(("sectors", "status"), [(1, IDLE), (16, IDLE), (0, IDLE), (3, ERR), (32, ERR), (255, ERR)])
def test_set_multiple_takes_powers_of_two_to_16(host: Host, sectors: int, status: int) -> None:
    host.command(0xC6, count=4)
    assert host.command(0xC6, count=sectors) == status
    assert (host.command(0xC4, count=1) == DRQ) is (sectors in {1, 16})


def test_read_verify_moves_nothing(host: Host) -> None:
    for number in (0x40, 0x41):
        assert host.command(number, sector=0, count=0) == IDLE
    assert host.extended(0x42, sector=255, count=1) == IDLE
    assert host.extended(0x42, sector=255, count=2) == ERR
    assert (host[Register.ERROR], host.line.level) == (Error.NO_SUCH_ADDRESS, True)


def test_initialize_device_parameters_sets_the_translation(host: Host) -> None:
    assert host.command(0x91, count=0) == ERR
    host[Register.COUNT], host[Register.DEVICE] = 10, 1  # ten sectors, two heads
    host[COMMAND] = 0x91
    host[Register.COUNT], host[Register.LBA_LOW], host[Register.LBA_MID] = 1, 1, 3
    host[COMMAND] = 0x20
    assert numbers(host.take_all()[0]) == [(3 * 2 + 1) * 10]


@pytest.mark.parametrize("mode", range(0x20))
def test_set_features_takes_pio_modes(host: Host, mode: int) -> None:
    assert (host.command(0xEF, features=0x03, count=mode) == IDLE) is (mode in {0, 1, 8, 9, 10, 11, 12})


@pytest.mark.parametrize("feature", [0x00, 0x01, 0x55, 0x66, 0xAA, 0xCC])
def test_set_features_aborts_what_is_not_there(host: Host, feature: int) -> None:
    assert host.command(0xEF, features=feature) == ERR


def test_power_modes_are_taken_and_it_is_active_after_all(host: Host) -> None:
    for number in (0xE0, 0xE1, 0xE2, 0xE3):
        assert host.command(number) == IDLE
    assert (host.command(0xE5), host[Register.COUNT]) == (IDLE, 0xFF)


@pytest.mark.parametrize("number", [0xE7, 0xEA])
def test_flush_cache_interrupts(host: Host, number: int) -> None:
    assert (host.command(number), host.line.level) == (IDLE, True)
