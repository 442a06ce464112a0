"""What does an ATA disk say of itself? The 256 words of IDENTIFY DEVICE.

ATA/ATAPI-7 (T13/1532D) volume 1, 6.17. It claims what is there and no more: PIO modes up to 4, no DMA.
"""

from __future__ import annotations

import struct
from typing import Final

from pv.devices.ata_drive import Drive
from pv.devices.ata_registers import HEADS, MULTIPLE_MOST, TRACK_SECTORS, TaskFile

WORDS: Final = 256
LBA28_SECTORS: Final = 0x0FFF_FFFF
MODEL, FIRMWARE = "pvkit disk", "1"
VALID: Final = 1 << 14  # of words that say by bits 15:14 = 01 that they mean something

LBA, IORDY_CAN_BE_OFF, IORDY = 1 << 9, 1 << 10, 1 << 11  # word 49
CHS_NOW_VALID, CYCLE_TIMES_VALID = 1 << 0, 1 << 1  # word 53
POWER_MANAGEMENT, WRITE_CACHE = 1 << 3, 1 << 5  # words 82 and 85
EXTENDED, FLUSH, FLUSH_EXTENDED = 1 << 10, 1 << 12, 1 << 13  # words 83 and 86
SIGNATURE: Final = 0xA5

FIXED: Final = {  # words that no disk and no setting changes
    0: 0x0040,  # an ATA device, not removable
    3: HEADS,
    6: TRACK_SECTORS,
    47: 0x8000 | MULTIPLE_MOST,
    49: LBA | IORDY | IORDY_CAN_BE_OFF,
    50: VALID,
    51: 2 << 8,  # PIO mode 2, for those that do not read word 64
    53: CHS_NOW_VALID | CYCLE_TIMES_VALID,
    64: 0x0003,  # PIO modes 3 and 4
    67: 120,  # ns of a PIO cycle, without IORDY and with it
    68: 120,
    80: 0x00F0,  # ATA-4 to ATA-7
    82: POWER_MANAGEMENT | WRITE_CACHE,
    83: VALID | EXTENDED | FLUSH | FLUSH_EXTENDED,
    84: VALID,
    86: EXTENDED | FLUSH | FLUSH_EXTENDED,
    87: VALID,
}
RESET_RESULT: Final = (0x400B, 0x4B00)  # word 93, by device: number by jumper, diagnostic passed


def ascii_words(text: str, words: int) -> list[int]:
    """A string of that many words, padded by blanks; the first character of two is the upper byte."""
    padded = text.ljust(2 * words).encode("ascii")
    return list(struct.unpack(f">{words}H", padded))


def words_of(value: int, words: int) -> list[int]:
    """A number, the lowest word first."""
    return [value >> 16 * word & 0xFFFF for word in range(words)]


def identify(drive: Drive) -> bytes:
    """The 512 bytes, in the order in which the data port gives them."""
    file = drive.file
    words = [FIXED.get(word, 0) for word in range(WORDS)]
    chs_sectors = file.cylinders * file.heads * file.track_sectors
    for first, values in (
        (1, [TaskFile(file.sectors).cylinders]),
        (10, ascii_words(f"pvkit-{drive.number}", 10)),
        (23, ascii_words(FIRMWARE, 4)),
        (27, ascii_words(MODEL, 20)),
        (54, [file.cylinders, file.heads, file.track_sectors, *words_of(chs_sectors, 2)]),
        (59, [0x0100 | drive.multiple if drive.multiple else 0]),
        (60, words_of(min(file.sectors, LBA28_SECTORS), 2)),
        (85, [POWER_MANAGEMENT | (WRITE_CACHE if drive.write_cache else 0)]),
        (93, [RESET_RESULT[drive.number]]),
        (100, words_of(file.sectors, 4)),
    ):
        words[first : first + len(values)] = values
    data = bytearray(struct.pack(f"<{WORDS}H", *words))
    data[-2] = SIGNATURE
    data[-1] = -sum(data) % 0x100  # the sum of all bytes is 0
    return bytes(data)
