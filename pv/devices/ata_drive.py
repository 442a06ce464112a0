"""What does one ATA disk hold between two accesses? Its status, its request, and the sectors that are in transfer.

ATA/ATAPI-7 (T13/1532D) volume 2, clauses 9 and 11 (PIO data-in and data-out). The medium is a file in the page cache:
a command is done when the write that gave it returns, so BSY is never seen but during a reset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from guest_sdk.abi import SECTOR_BYTES
from pv.devices.ata_registers import MULTIPLE_MOST, AtaError, Error, Status, TaskFile
from pv.devices.state import SavedFields, State, StateError, part_of
from pv.disk import Disk

BUFFER_BYTES: Final = MULTIPLE_MOST * SECTOR_BYTES
WORD_BYTES: Final = 2
IDLE: Final = Status.READY | Status.SEEK_DONE


class Drive(SavedFields):
    """Disk `number` (0 or 1) of a channel. changed() is called where `interrupting` may have changed.

    A block is what moves between two interrupts: a sector, or `multiple` of them.
    """

    saved_fields: ClassVar = (
        "_buffer", "multiple", "write_cache", "interrupting", "sleeping", "status", "error", "_writing", "_at", "_end",
        "_sector", "_left", "_block",
    )  # fmt: skip
    saved_ranges: ClassVar = {
        "multiple": range(MULTIPLE_MOST + 1),
        "status": range(0x100),
        "error": range(0x100),
        "_at": range(BUFFER_BYTES + 1),
        "_end": range(BUFFER_BYTES + 1),
        "_sector": range(1 << 48),
        "_left": range((1 << 16) + 1),
        "_block": range(MULTIPLE_MOST + 1),
    }
    wiring_fields: ClassVar = ("disk", "number", "file", "_changed")  # the file is a part of its own: see save()

    def __init__(self, disk: Disk, number: int, changed: Callable[[], object]) -> None:
        self.disk: Final = disk
        self.number: Final = number
        self.file: Final = TaskFile(disk.size_bytes // SECTOR_BYTES)
        self._changed: Final = changed
        self._buffer: Final = bytearray(BUFFER_BYTES)
        self.multiple = 0  # sectors of a block of READ MULTIPLE; 0: the command is off
        self.write_cache = True
        self.interrupting = self.sleeping = False
        self.status = self.error = 0
        self._writing = False
        self._at = self._end = 0  # of the block in the buffer, bytes
        self._sector = self._left = self._block = 0  # of the whole transfer, and sectors of a full block
        self.reset()

    def save(self) -> State:
        return {**super().save(), "file": self.file.save()}

    def restore(self, saved: State) -> None:
        super().restore(saved)
        self.file.restore(part_of(saved, "file", "Drive"))
        moving = self._writing or self._left
        if (
            self._sector + self._left > self.file.sectors
            or (self._left and (not self._block or (self._writing and self.disk.read_only)))
            or (moving and self._end != min(self._block, self._left) * SECTOR_BYTES)
        ):
            raise StateError("Drive is in a transfer that there is not")

    def reset(self) -> None:
        """Power-on, a software reset and a diagnostic end alike. Features keep their settings."""
        self.file.sign()
        self.status, self.error = IDLE, Error.PASSED
        self.sleeping = False
        self._end_transfer()
        self.interrupt(False)

    def interrupt(self, level: bool) -> None:
        """Ask for INTRQ, or take it back."""
        self.interrupting = level
        self._changed()

    def begin(self) -> None:
        """A command came: what was in transfer is forgotten, and INTRQ falls."""
        self.error = 0
        self._end_transfer()
        self.interrupt(False)

    def complete(self) -> None:
        """The command is done."""
        self.status = IDLE
        self.interrupt(True)

    def fail(self, error: AtaError) -> None:
        """The command is done, and went wrong."""
        self.status = IDLE | Status.ERR | (Status.FAULT if error.fault else 0)
        self.error = error.error
        self._end_transfer()
        if error.sector is not None:
            self.file.show(error.sector)
        self.interrupt(True)

    def send(self, data: bytes) -> None:
        """Offer the guest `data`, at most BUFFER_BYTES of them, which are no sectors of the disk."""
        self._buffer[: len(data)] = data
        self._writing, self._left, self._at, self._end = False, 0, 0, len(data)
        self._offer()

    def begin_read(self, sector: int, sectors: int, block: int) -> None:
        """Offer the guest `sectors`, `block` of them at a time. Raises AtaError."""
        self._writing, self._sector, self._left, self._block = False, sector, sectors, block
        self._fill()

    def begin_write(self, sector: int, sectors: int, block: int) -> None:
        """Take `sectors`; the first block is asked for without an interrupt. Raises AtaError for a disk of mode ro."""
        if self.disk.read_only:
            raise AtaError(Error.ABORTED)
        self._writing, self._sector, self._left, self._block = True, sector, sectors, block
        self._ask()

    def verify(self, sector: int, sectors: int) -> None:
        """Read sectors, and give them to nobody. Raises AtaError."""
        for first in range(sector, sector + sectors, MULTIPLE_MOST):
            self._read(first, min(MULTIPLE_MOST, sector + sectors - first))

    def flush(self) -> None:
        """Have what was written reach its medium. Raises AtaError."""
        try:
            self.disk.flush()
        except OSError:
            raise AtaError(Error.ABORTED, fault=True) from None

    def read_data(self, size: int) -> int:
        """`size` bytes of the data port. A cycle moves a word: a byte is the lower half of one."""
        at = self._at
        if self._writing or at >= self._end:
            return (1 << 8 * size) - 1  # nothing is offered: nobody drives the bus
        value = int.from_bytes(self._buffer[at : at + size], "little")
        self._at = at = at + (size if size > 1 else WORD_BYTES)
        if at >= self._end:
            self._sent()
        return value

    def write_data(self, size: int, value: int) -> None:
        """`size` bytes to the data port; lost where nothing is asked for."""
        at, end = self._at, self._end
        if not self._writing or at >= end:
            return
        step = size if size > 1 else WORD_BYTES
        after = min(at + step, end)
        self._buffer[at:after] = value.to_bytes(step, "little")[: after - at]
        self._at = after
        if after == end:
            self._taken()

    def _offer(self) -> None:
        self.status = IDLE | Status.DRQ
        self.interrupt(True)

    def _ask(self) -> None:
        self._at, self._end = 0, min(self._block, self._left) * SECTOR_BYTES
        self.status = IDLE | (Status.DRQ if self._left else 0)

    def _end_transfer(self) -> None:
        self._at = self._end = self._left = 0

    def _fill(self) -> None:
        count = min(self._block, self._left)
        self._read(self._sector, count)
        self._at, self._end = 0, count * SECTOR_BYTES
        self._offer()

    def _read(self, sector: int, count: int) -> None:
        wanted = count * SECTOR_BYTES
        try:
            got = self.disk.read_into(memoryview(self._buffer)[:wanted], sector * SECTOR_BYTES)
        except OSError:
            got = 0
        if got < wanted:
            raise AtaError(Error.UNCORRECTABLE, sector + got // SECTOR_BYTES)

    def _store(self) -> None:
        """The buffer's block goes to the disk. Raises AtaError."""
        sector = self._sector
        try:
            written = self.disk.write_from(memoryview(self._buffer)[: self._end], sector * SECTOR_BYTES)
        except OSError:
            written = 0
        if written < self._end:
            raise AtaError(Error.ABORTED, sector + written // SECTOR_BYTES, fault=True)
        self._pass_block()
        if not self._left and not self.write_cache:
            self.flush()

    def _sent(self) -> None:
        """The last word of a block was read: the next block follows, or the end, which is no interrupt."""
        self._pass_block()
        if not self._left:
            self.status = IDLE
            return
        try:
            self._fill()
        except AtaError as error:
            self.fail(error)

    def _taken(self) -> None:
        """The last word of a block was written: it is stored, and an interrupt says so, after the last block too."""
        try:
            self._store()
        except AtaError as error:
            self.fail(error)
        else:
            self._ask()
            self.interrupt(True)

    def _pass_block(self) -> None:
        count = min(self._block, self._left)
        self._sector += count
        self._left -= count
