"""What do an ATA disk's commands do? A row a command; what has no row is aborted, as a disk does that lacks it.

ATA/ATAPI-7 (T13/1532D) volume 1, clause 6: the PIO commands of a disk, without DMA, SMART, security and PACKET.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from pv.devices.ata_drive import Drive
from pv.devices.ata_identify import identify
from pv.devices.ata_registers import BYTE, FEATURES, MULTIPLE_MOST, AtaError, Device, Error, Register

Act = Callable[[Drive], None]
"""Do the command: complete(), begin a transfer, or raise AtaError."""

MULTIPLES: Final = tuple(1 << power for power in range(MULTIPLE_MOST.bit_length()))
ALWAYS_ACTIVE: Final = 0xFF  # CHECK POWER MODE
PIO_MODES: Final = (0x00, 0x01, *range(0x08, 0x0D))  # the default, without IORDY, and modes 0 to 4


def block_of(drive: Drive, multiple: bool) -> int:
    """Sectors between two interrupts. Raises AtaError where SET MULTIPLE MODE has not said how many."""
    if multiple and not drive.multiple:
        raise AtaError(Error.ABORTED)
    return drive.multiple if multiple else 1


def read(drive: Drive, *, extended: bool, multiple: bool) -> None:
    """READ SECTOR(S), READ MULTIPLE, and both EXT."""
    block = block_of(drive, multiple)
    drive.begin_read(*drive.file.span(extended=extended), block)


def write(drive: Drive, *, extended: bool, multiple: bool) -> None:
    """WRITE SECTOR(S), WRITE MULTIPLE, and both EXT."""
    block = block_of(drive, multiple)
    drive.begin_write(*drive.file.span(extended=extended), block)


def read_verify(drive: Drive, *, extended: bool) -> None:
    """READ VERIFY SECTOR(S), and EXT."""
    drive.verify(*drive.file.span(extended=extended))
    drive.complete()


def flush_cache(drive: Drive) -> None:
    """FLUSH CACHE, and EXT."""
    drive.flush()
    drive.complete()


def set_multiple_mode(drive: Drive) -> None:
    """SET MULTIPLE MODE. A number that cannot be turns READ and WRITE MULTIPLE off, and so does 0."""
    sectors = drive.file.written[Register.COUNT] % BYTE
    drive.multiple = sectors if sectors in MULTIPLES else 0
    if sectors and not drive.multiple:
        raise AtaError(Error.ABORTED)
    drive.complete()


def identify_device(drive: Drive) -> None:
    """IDENTIFY DEVICE."""
    drive.send(identify(drive))


def initialize_device_parameters(drive: Drive) -> None:
    """INITIALIZE DEVICE PARAMETERS: heads and sectors a track of CHS addresses."""
    sectors = drive.file.written[Register.COUNT] % BYTE
    if not sectors:
        raise AtaError(Error.ABORTED)
    drive.file.track_sectors, drive.file.heads = sectors, (drive.file.device & Device.TOP) + 1
    drive.complete()


def set_transfer_mode(drive: Drive) -> None:
    if drive.file.written[Register.COUNT] % BYTE not in PIO_MODES:
        raise AtaError(Error.ABORTED)


def enable_write_cache(drive: Drive) -> None:
    drive.write_cache = True


def disable_write_cache(drive: Drive) -> None:
    drive.flush()
    drive.write_cache = False


SUBCOMMANDS: Final[dict[int, Act]] = {  # of SET FEATURES
    0x02: enable_write_cache,
    0x03: set_transfer_mode,
    0x82: disable_write_cache,
}


def set_features(drive: Drive) -> None:
    """SET FEATURES."""
    act = SUBCOMMANDS.get(drive.file.written[FEATURES] % BYTE)
    if act is None:
        raise AtaError(Error.ABORTED)
    act(drive)
    drive.complete()


def check_power_mode(drive: Drive) -> None:
    """CHECK POWER MODE: it never spins down, whatever IDLE and STANDBY asked for."""
    drive.file.written[Register.COUNT] = ALWAYS_ACTIVE
    drive.complete()


def sleep(drive: Drive) -> None:
    """SLEEP: deaf until a reset."""
    drive.sleeping = True
    drive.complete()


EXECUTE_DEVICE_DIAGNOSTIC: Final = 0x90  # both disks obey it, so it is the channel's
COMMANDS: Final[dict[int, Act]] = {
    0x20: partial(read, extended=False, multiple=False),
    0x21: partial(read, extended=False, multiple=False),  # without retries, obsolete
    0x24: partial(read, extended=True, multiple=False),
    0x29: partial(read, extended=True, multiple=True),
    0x30: partial(write, extended=False, multiple=False),
    0x31: partial(write, extended=False, multiple=False),  # without retries, obsolete
    0x34: partial(write, extended=True, multiple=False),
    0x39: partial(write, extended=True, multiple=True),
    0x40: partial(read_verify, extended=False),
    0x41: partial(read_verify, extended=False),  # without retries, obsolete
    0x42: partial(read_verify, extended=True),
    0x91: initialize_device_parameters,
    0xC4: partial(read, extended=False, multiple=True),
    0xC5: partial(write, extended=False, multiple=True),
    0xC6: set_multiple_mode,
    0xE0: Drive.complete,  # STANDBY IMMEDIATE
    0xE1: Drive.complete,  # IDLE IMMEDIATE
    0xE2: Drive.complete,  # STANDBY
    0xE3: Drive.complete,  # IDLE
    0xE5: check_power_mode,
    0xE6: sleep,
    0xE7: flush_cache,
    0xEA: flush_cache,
    0xEC: identify_device,
    0xEF: set_features,
}


def execute(drive: Drive, number: int) -> None:
    """Do command `number`; what goes wrong stands in the drive's status and error."""
    drive.begin()
    act = COMMANDS.get(number)
    try:
        if act is None:
            raise AtaError(Error.ABORTED)
        act(drive)
    except AtaError as error:
        drive.fail(error)
