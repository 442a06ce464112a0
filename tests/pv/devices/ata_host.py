"""A driver for an ATA channel under test, as a guest's would be, over disks on real files."""

from __future__ import annotations

from pathlib import Path

from pv.devices.ata import AtaChannel
from pv.devices.ata_registers import COMMAND, FEATURES, Device, Register, Status
from pv.disk import Disk
from tests.pv.devices.fakes import Line

SECTOR = 512
IDLE, DRQ, ERR = 0x50, 0x58, 0x51


def make_disk(folder: Path, sectors: int, mode: str = "ro", name: str = "disk.img") -> Disk:
    """A disk whose sector n holds n in each of its 128 doublewords."""
    path = folder / name
    path.write_bytes(b"".join(sector.to_bytes(4, "little") * (SECTOR // 4) for sector in range(sectors)))
    return Disk(path, mode)


class Host:
    """The channel with its line, registers by name, and commands."""

    def __init__(self, *disks: Disk) -> None:
        self.line = Line()
        self.channel = AtaChannel(disks, self.line)

    def __getitem__(self, register: int) -> int:
        return self.channel.read(register - Register.ERROR, 1)

    def __setitem__(self, register: int, value: int) -> None:
        self.channel.write(register - Register.ERROR, 1, value)

    @property
    def alternate(self) -> int:
        return self.channel.read_alternate(0, 1)

    def control(self, value: int) -> None:
        self.channel.write_control(0, 1, value)

    def command(self, number: int, sector: int = 0, count: int = 0, features: int = 0, device: int = 0) -> int:
        """A command with a 28-bit address; the alternate status after it."""
        self[FEATURES] = features
        self[Register.COUNT] = count
        self[Register.LBA_LOW], self[Register.LBA_MID], self[Register.LBA_HIGH] = sector.to_bytes(4, "little")[:3]
        self[Register.DEVICE] = Device.LBA | device << 4 | sector >> 24
        self[COMMAND] = number
        return self.alternate

    def extended(self, number: int, sector: int, count: int) -> int:
        """A command with a 48-bit address."""
        address = sector.to_bytes(6, "little")
        self[Register.COUNT], self[Register.COUNT] = count >> 8, count & 0xFF
        for register, byte in zip((Register.LBA_LOW, Register.LBA_MID, Register.LBA_HIGH), address[3:], strict=True):
            self[register] = byte
        for register, byte in zip((Register.LBA_LOW, Register.LBA_MID, Register.LBA_HIGH), address[:3], strict=True):
            self[register] = byte
        self[Register.DEVICE] = Device.LBA
        self[COMMAND] = number
        return self.alternate

    def take(self, size: int, width: int = 2) -> bytes:
        """Read from the data port."""
        return b"".join(self.channel.read_data(0, width).to_bytes(width, "little") for _ in range(size // width))

    def give(self, data: bytes, width: int = 2) -> None:
        """Write to the data port."""
        for at in range(0, len(data), width):
            self.channel.write_data(0, width, int.from_bytes(data[at : at + width], "little"))

    def take_all(self, block: int = 1) -> tuple[bytes, int]:
        """Read while DRQ is on, a block at a time, each with its own interrupt; the data, and the interrupts."""
        data, rises = b"", self.line.rises
        while self[Register.STATUS] & Status.DRQ:
            data += self.take(block * SECTOR)
        return data, self.line.rises - rises
