"""IDENTIFY DEVICE: what its words say of sizes, settings and features, and that it sums up to 0."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.pv.devices.ata_host import DRQ, IDLE, SECTOR, Host, make_disk

SECTORS = 3000


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(make_disk(tmp_path, SECTORS), make_disk(tmp_path, 16, name="second.img"))


def words(host: Host, device: int = 0) -> tuple[int, ...]:
    assert host.command(0xEC, device=device) == DRQ
    data = host.take(SECTOR)
    assert (host.alternate, sum(data) % 0x100, data[510]) == (IDLE, 0, 0xA5)
    return struct.unpack("<256H", data)


def text(words: tuple[int, ...]) -> str:
    return struct.pack(f">{len(words)}H", *words).decode("ascii").rstrip()


def test_its_size_in_three_ways(host: Host) -> None:
    said = words(host)
    assert said[60] | said[61] << 16 == SECTORS
    assert struct.unpack("<Q", struct.pack("<4H", *said[100:104])) == (SECTORS,)
    assert (said[1], said[3], said[6]) == (SECTORS // 1008, 16, 63)


def test_its_names(host: Host) -> None:
    said = words(host)
    assert [text(said[slice(*at)]) for at in ((10, 20), (23, 27), (27, 47))] == ["pvkit-0", "1", "pvkit disk"]
    assert text(words(host, device=1)[10:20]) == "pvkit-1"


def test_it_is_a_fixed_disk_that_knows_lba_and_no_dma(host: Host) -> None:
    said = words(host)
    assert (said[0], said[49] >> 8 & 3, said[63], said[88]) == (0x40, 2, 0, 0)
    assert said[83] == 0x7400  # 48-bit addresses, and both FLUSH CACHE


def test_settings_show(host: Host) -> None:
    assert (words(host)[59], words(host)[85]) == (0, 0x28)
    host.command(0xC6, count=8)
    host.command(0xEF, features=0x82)
    assert (words(host)[59], words(host)[85]) == (0x0108, 0x08)


def test_the_translation_in_use_shows(host: Host) -> None:
    host.command(0x91, sector=0, count=10)
    said = words(host)
    assert said[54:57] == (300, 1, 10)
    assert (said[57], said[1], said[3]) == (SECTORS, 2, 16)
