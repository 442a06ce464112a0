"""Which sectors do the registers of an ATA disk name? The task file: CHS, 28-bit and 48-bit addresses, both ways.

ATA/ATAPI-7 (T13/1532D) volume 1, clause 6.2 (sector addressing) and 6.20 (48-bit addresses); volume 2, clause 5.
CHS, which ATA-7 dropped, is as in ATA-5, clause 8.16 (INITIALIZE DEVICE PARAMETERS).
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

from pv.devices.state import SavedFields

BYTE: Final = 0x100
MULTIPLE_MOST: Final = 16  # sectors of one block of READ MULTIPLE
HEADS, TRACK_SECTORS, CYLINDERS_MOST = 16, 63, 16_383  # the default translation


class Register(enum.IntEnum):
    """Offsets in the command block. ERROR is written as FEATURES, and STATUS as COMMAND."""

    DATA = 0
    ERROR = 1
    COUNT = 2
    LBA_LOW = 3
    LBA_MID = 4
    LBA_HIGH = 5
    DEVICE = 6
    STATUS = 7


FEATURES: Final = Register.ERROR
COMMAND: Final = Register.STATUS


class Status:
    ERR = 1 << 0
    DRQ = 1 << 3
    SEEK_DONE = 1 << 4  # obsolete, and still looked at
    FAULT = 1 << 5
    READY = 1 << 6
    BUSY = 1 << 7


class Error:
    PASSED = 1 << 0  # after a reset or a diagnostic: the code of a device that is well
    ABORTED = 1 << 2
    NO_SUCH_ADDRESS = 1 << 4
    UNCORRECTABLE = 1 << 6


class Device:
    NUMBER = 1 << 4
    LBA = 1 << 6
    TOP = 0x0F  # LBA 27:24, or the head


class AtaError(Exception):
    """A command fails: bits of the Error register, the sector where there is one, and whether the disk is at fault."""

    def __init__(self, error: int, sector: int | None = None, *, fault: bool = False) -> None:
        super().__init__(f"error {error:#04x}")
        self.error = error
        self.sector = sector
        self.fault = fault


class TaskFile(SavedFields):
    """The registers that a guest writes before a command. `sectors` is the size of the disk.

    written: FEATURES to LBA_HIGH by offset, 16 bits each: what was written last, and above it what was before.
    """

    saved_fields: ClassVar = ("heads", "track_sectors", "written", "device")
    saved_ranges: ClassVar = {
        "heads": range(1, HEADS + 1),
        "track_sectors": range(1, BYTE),
        "written": range(BYTE * BYTE),
        "device": range(BYTE),
    }
    wiring_fields: ClassVar = ("sectors",)

    def __init__(self, sectors: int) -> None:
        self.sectors: Final = sectors
        self.heads, self.track_sectors = HEADS, TRACK_SECTORS
        self.written = [0] * Register.DEVICE
        self.device = 0

    @property
    def cylinders(self) -> int:
        return min(max(self.sectors // (self.heads * self.track_sectors), 1), CYLINDERS_MOST)

    def write(self, register: int, value: int) -> None:
        """Write FEATURES to DEVICE; all but the last keep what they held above it."""
        if register == Register.DEVICE:
            self.device = value
        else:
            self.written[register] = self.written[register] % BYTE << 8 | value

    def read(self, register: int, *, high_order: bool) -> int:
        """COUNT to DEVICE; high_order: the byte written before the last (HOB of Device Control)."""
        if register == Register.DEVICE:
            return self.device
        return self.written[register] >> 8 if high_order else self.written[register] % BYTE

    def sign(self) -> None:
        """What a reset or a diagnostic leaves: the signature of a disk (volume 1, 9.12)."""
        self.written = [0] * Register.DEVICE
        self.written[Register.COUNT] = self.written[Register.LBA_LOW] = 1
        self.device = 0

    def span(self, *, extended: bool) -> tuple[int, int]:
        """The first sector of a command, and how many. extended: of 48 bits. Raises AtaError where one is not there."""
        count = self.written[Register.COUNT]
        if extended:
            first, sectors = self._extended(), count or BYTE * BYTE
        else:
            first, sectors = self._short(), count % BYTE or BYTE
        if first + sectors > self.sectors:
            raise AtaError(Error.NO_SUCH_ADDRESS, max(first, self.sectors))
        return first, sectors

    def show(self, sector: int) -> None:
        """Where a command failed, in the way in which its address was given."""
        low, middle, high, *above = sector.to_bytes(6, "little")
        top = above[0] & Device.TOP
        if not self.device & Device.LBA:
            track, low = divmod(sector, self.track_sectors)
            cylinder, top = divmod(track, self.heads)
            high, middle = divmod(cylinder % (BYTE * BYTE), BYTE)
            low, above, top = low + 1, [0, 0, 0], top & Device.TOP
        bytes_of = zip((low, middle, high), above, strict=True)
        self.written[Register.LBA_LOW : Register.DEVICE] = [recent | earlier << 8 for recent, earlier in bytes_of]
        self.device = self.device & ~Device.TOP | top

    def _extended(self) -> int:
        low, middle, high = self.written[Register.LBA_LOW : Register.DEVICE]
        recent = low % BYTE | middle % BYTE << 8 | high % BYTE << 16
        return recent | (low >> 8 | middle & 0xFF00 | high >> 8 << 16) << 24

    def _short(self) -> int:
        low, middle, high = (value % BYTE for value in self.written[Register.LBA_LOW : Register.DEVICE])
        top = self.device & Device.TOP
        if self.device & Device.LBA:
            return top << 24 | high << 16 | middle << 8 | low
        if not 1 <= low <= self.track_sectors or top >= self.heads:
            raise AtaError(Error.NO_SUCH_ADDRESS)
        return ((high << 8 | middle) * self.heads + top) * self.track_sectors + low - 1
