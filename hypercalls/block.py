"""block: the machine's disks, read and written in whole sectors straight between the file and guest memory."""

from __future__ import annotations

import struct
from errno import E2BIG, EFAULT, EINVAL, EIO, ENODEV, EROFS
from typing import Final

from guest_sdk import abi
from hypercalls.arguments import U32
from hypercalls.call import hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.disk import Disk
from pv.exits import GuestError

INFO: Final = struct.Struct("<QII")  # abi's block_info
SECTOR_MASK: Final = abi.SECTOR_BYTES - 1


def disk_of(machine: MachineView, number: int) -> Disk:
    """The machine's disk of that number. Raises GuestError(ENODEV) where there is none."""
    disks = machine.disks
    if number >= len(disks):
        raise GuestError(ENODEV, f"there is no disk {number}")
    return disks[number]


def span(machine: MachineView, disk: Disk, offset: int, gpa: int, size_bytes: int) -> memoryview:
    """The guest memory of one transfer, which both the disk and guest memory hold wholly.

    Raises GuestError: E2BIG past BLOCK_MOST, EINVAL for what is not whole sectors of the disk, EFAULT outside memory.
    """
    memory = machine.memory
    if size_bytes > abi.BLOCK_MOST:
        raise GuestError(E2BIG, f"{size_bytes} bytes where {abi.BLOCK_MOST} are allowed")
    if (offset | size_bytes) & SECTOR_MASK or offset + size_bytes > disk.size_bytes:
        raise GuestError(EINVAL, f"{offset:#x}+{size_bytes:#x} are not whole sectors of the disk")
    if gpa + size_bytes > memory.size_bytes:
        raise GuestError(EFAULT, f"gpa {gpa:#x}+{size_bytes:#x} is outside guest memory")
    return memory.view[gpa : gpa + size_bytes]


@hypercall(0x1070, "block_info", result="0; block_info is written")
def block_info(machine: MachineView, disk: U32, info_gpa: int) -> int:
    """A disk's size, its sectors' size and its flags. -ENODEV past the last disk: disks are numbered from 0 on."""
    found = disk_of(machine, disk)
    flags = abi.BLOCK_FLAGS["BLOCK_READ_ONLY"] if found.read_only else 0
    machine.memory.write(info_gpa, INFO.pack(found.size_bytes, abi.SECTOR_BYTES, flags))
    return 0


@hypercall(0x1071, "block_read", result="bytes read")
def block_read(machine: MachineView, disk: U32, offset: int, data_gpa: int, data_bytes: int) -> int:
    """Read whole sectors of a disk into guest memory. -EIO where the host cannot read them all."""
    source = disk_of(machine, disk)
    with span(machine, source, offset, data_gpa, data_bytes) as view:
        try:
            done = source.read_into(view, offset)
        except OSError as error:
            raise GuestError(EIO, str(error)) from error
        finally:
            machine.vcpu.note_write(data_gpa, data_bytes)
    if done != data_bytes:
        raise GuestError(EIO, f"{done} of {data_bytes} bytes at {offset:#x}")
    return done


@hypercall(0x1072, "block_write", result="bytes written")
def block_write(machine: MachineView, disk: U32, offset: int, data_gpa: int, data_bytes: int) -> int:
    """Write guest memory to whole sectors of a disk. -EROFS where it is read-only, -EIO as block_read."""
    target = disk_of(machine, disk)
    if target.read_only:
        raise GuestError(EROFS, f"disk {disk} is read-only")
    with span(machine, target, offset, data_gpa, data_bytes) as view:
        try:
            done = target.write_from(view, offset)
        except OSError as error:
            raise GuestError(EIO, str(error)) from error
    if done != data_bytes:
        raise GuestError(EIO, f"{done} of {data_bytes} bytes at {offset:#x}")
    return done


@hypercall(0x1073, "block_flush", result="0")
def block_flush(machine: MachineView, disk: U32) -> int:
    """Have what was written reach the medium behind the disk."""
    target = disk_of(machine, disk)
    try:
        target.flush()
    except OSError as error:
        raise GuestError(EIO, str(error)) from error
    return 0


PLUGIN: Final = Plugin("block", "1", (block_info, block_read, block_write, block_flush), ("block",))
