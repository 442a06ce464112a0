"""How does a guest reach two disks over one channel? The ATA host's registers, selection, resets and INTRQ.

ATA/ATAPI-7 (T13/1532D) volume 2, clauses 5 (interface registers) and 9. Both disks take what is written to the command
block; the one that DEV selects answers and acts. Where disk 1 is not there, disk 0 answers for it (9.16.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from pv.devices.ata_commands import EXECUTE_DEVICE_DIAGNOSTIC, execute
from pv.devices.ata_drive import Drive
from pv.devices.ata_registers import COMMAND, Device, Register, Status
from pv.devices.bus import all_ones
from pv.devices.state import MISSING, SavedFields, State, StateError
from pv.disk import Disk

DISKS_MOST: Final = 2
NOT_THERE: Final = 0x00  # the status of a disk 1 that is not
FIRST: Final = Register.ERROR  # of the registers that are a byte wide


class Control:
    """Device Control, at the address where Alternate Status is read."""

    NO_INTERRUPT = 1 << 1
    RESET = 1 << 2
    HIGH_ORDER = 1 << 7


class AtaChannel(SavedFields):
    """One channel with one or two disks. line(level) is INTRQ, which the selected disk drives."""

    saved_fields: ClassVar = ("_control",)
    saved_ranges: ClassVar = {"_control": range(0x100)}
    wiring_fields: ClassVar = ("_line", "_selected", "_drives")  # the last two: see save()

    def __init__(self, disks: Sequence[Disk], line: Callable[[bool], object]) -> None:
        self._line: Final = line
        self._control = 0
        self._selected: Drive | None = None
        self._drives = [Drive(disk, number, self._changed) for number, disk in enumerate(disks)]
        self._select(0)

    def save(self) -> State:
        selected = None if self._selected is None else self._selected.number
        return {**super().save(), "selected": selected, "drives": [drive.save() for drive in self._drives]}

    def restore(self, saved: State) -> None:
        number, drives = saved.get("selected", MISSING), saved.get("drives")
        if number is not None and (type(number) is not int or number not in range(len(self._drives))):
            raise StateError("AtaChannel.selected is no drive")
        if not isinstance(drives, list) or len(drives) != len(self._drives) or not all(type(d) is dict for d in drives):
            raise StateError("AtaChannel.drives are others")
        super().restore(saved)
        for drive, state in zip(self._drives, drives, strict=True):
            drive.restore(state)
        self._selected = None if number is None else self._drives[number]

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        """ERROR to STATUS, by offset from ERROR. Reading the status takes INTRQ back."""
        drive = self._selected or self._drives[0]
        match offset + FIRST:
            case Register.ERROR:
                return drive.error
            case Register.STATUS:
                status = self._status()
                if self._selected is not None:
                    drive.interrupt(False)
                return status
            case register:
                return drive.file.read(register, high_order=bool(self._control & Control.HIGH_ORDER))

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        """FEATURES to COMMAND, by offset from FEATURES: for both disks, but a command."""
        if self._control & Control.RESET:
            return
        self._control &= ~Control.HIGH_ORDER
        register = offset + FIRST
        if register == COMMAND:
            self._command(value)
            return
        for drive in self._drives:
            drive.file.write(register, value)
        if register == Register.DEVICE:
            self._select(bool(value & Device.NUMBER))

    def read_data(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        """DATA, 1, 2 or 4 bytes wide."""
        return all_ones(size) if self._selected is None else self._selected.read_data(size)

    def write_data(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        """DATA, 1, 2 or 4 bytes wide."""
        if self._selected is not None:
            self._selected.write_data(size, value)

    def read_alternate(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        """Alternate Status: INTRQ stays as it is."""
        return self._status()

    def write_control(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        """Device Control. Both disks are reset as SRST rises, and stay busy until it falls."""
        rising = value & ~self._control & Control.RESET
        self._control = value
        if rising:
            self._reset()
        self._changed()

    def _status(self) -> int:
        if self._selected is None:
            return NOT_THERE
        return Status.BUSY if self._control & Control.RESET else self._selected.status

    def _select(self, number: int) -> None:
        self._selected = self._drives[number] if number < len(self._drives) else None
        self._changed()

    def _reset(self) -> None:
        for drive in self._drives:
            drive.reset()
        self._select(0)

    def _command(self, number: int) -> None:
        if number == EXECUTE_DEVICE_DIAGNOSTIC:
            self._reset()
            self._drives[0].complete()
        elif self._selected is not None and not self._selected.sleeping:
            execute(self._selected, number)

    def _changed(self) -> None:
        drive = self._selected
        self._line(drive is not None and drive.interrupting and not self._control & Control.NO_INTERRUPT)
