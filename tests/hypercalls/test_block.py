import os
import struct
from errno import E2BIG, EFAULT, EINVAL, EIO, ENODEV, EROFS

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import Guest, abi, ring
from hypercalls import block
from pv.disk import Disk
from pv.exits import GuestError, StopWhy
from pv.machine import Machine

SECTORS = 16
DISK_BYTES = SECTORS * abi.SECTOR_BYTES
CONTENT = bytes(sector for sector in range(SECTORS) for _ in range(abi.SECTOR_BYTES))
GPA = 0x8000
TOP = (1 << 64) - 512
READ_ONLY, WRITABLE, COPIED, MISSING = range(4)


@pytest.fixture(scope="session")
def disk_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("disk") / "disk.img"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def booted(machine, tmp_path, disk_file):
    (tmp_path / "rw.img").write_bytes(CONTENT)
    machine.disks = (Disk(disk_file), Disk(tmp_path / "rw.img", "rw"), Disk(disk_file, "cow"))
    yield machine.add(block.PLUGIN)
    for disk in machine.disks:
        disk.close()


@pytest.mark.parametrize(("disk", "flags"), [(READ_ONLY, 1), (WRITABLE, 0), (COPIED, 0)])
def test_info(booted, disk, flags):
    assert booted.ask("block_info", disk, GPA) == 0
    assert struct.unpack("<QII", booted.memory.read(GPA, 16)) == (DISK_BYTES, 512, flags)


@pytest.mark.parametrize("disk", [READ_ONLY, WRITABLE, COPIED])
def test_read_fills_just_the_guest_s_span(booted, disk):
    booted.memory.write(GPA - 512, b"\xee" * 2048)
    assert booted.ask("block_read", disk, 3 * 512, GPA, 1024) == 1024
    assert booted.memory.read(GPA - 512, 2048) == b"\xee" * 512 + CONTENT[3 * 512 : 5 * 512] + b"\xee" * 512
    assert booted.vcpu.told == [("note_write", GPA, 1024)]


@pytest.mark.parametrize("disk", [WRITABLE, COPIED])
def test_what_was_written_is_read_back(booted, disk, disk_file, tmp_path):
    booted.memory.write(GPA, b"w" * 1024)
    assert booted.ask("block_write", disk, 512, GPA, 1024) == 1024
    assert booted.ask("block_flush", disk) == 0
    booted.memory.write(GPA, bytes(4096))
    assert booted.ask("block_read", disk, 0, GPA, 2048) == 2048
    assert booted.memory.read(GPA, 2048) == CONTENT[:512] + b"w" * 1024 + CONTENT[1536:2048]
    assert disk_file.read_bytes() == CONTENT
    assert ((tmp_path / "rw.img").read_bytes() == CONTENT) == (disk == COPIED)


def test_nothing_and_everything(booted):
    assert booted.ask("block_read", READ_ONLY, DISK_BYTES, GPA, 0) == 0
    assert booted.ask("block_read", READ_ONLY, 0, GPA, DISK_BYTES) == DISK_BYTES
    assert booted.memory.read(GPA, DISK_BYTES) == CONTENT


@pytest.mark.parametrize(
    ("registers", "errno"),
    [
        ((MISSING, 0, GPA, 512), ENODEV),
        ((0xFFFF_FFFF, 0, GPA, 512), ENODEV),
        ((WRITABLE, 0, GPA, abi.BLOCK_MOST + 512), E2BIG),
        ((WRITABLE, 0, GPA, TOP), E2BIG),
        ((WRITABLE, 1, GPA, 512), EINVAL),
        ((WRITABLE, 0, GPA, 511), EINVAL),
        ((WRITABLE, DISK_BYTES, GPA, 512), EINVAL),
        ((WRITABLE, DISK_BYTES - 512, GPA, 1024), EINVAL),
        ((WRITABLE, TOP, GPA, 512), EINVAL),
        ((WRITABLE, TOP, GPA, 1024), EINVAL),
        ((WRITABLE, 0, (1 << 20) - 511, 512), EFAULT),
        ((WRITABLE, 0, TOP, 512), EFAULT),
        ((WRITABLE, 0, (1 << 64) - 1, 1024), EFAULT),
    ],
)
@pytest.mark.parametrize("name", ["block_read", "block_write"])
def test_transfers_that_are_refused(booted, name, registers, errno):
    assert booted.errno(name, *registers) == errno
    assert booted.vcpu.told == []


def test_a_read_only_disk_is_not_written(booted):
    assert booted.errno("block_write", READ_ONLY, 0, GPA, 512) == EROFS
    assert booted.ask("block_flush", READ_ONLY) == 0


def test_info_and_flush_of_no_disk_and_no_memory(booted):
    assert booted.errno("block_info", MISSING, GPA) == ENODEV
    assert booted.errno("block_flush", MISSING) == ENODEV
    assert booted.errno("block_info", 0, (1 << 20) - 15) == EFAULT


def test_a_file_that_shrank_or_was_closed_is_eio(booted, tmp_path):
    os.truncate(tmp_path / "rw.img", 512)
    assert booted.errno("block_read", WRITABLE, 0, GPA, 1024) == EIO
    assert booted.vcpu.told == [("note_write", GPA, 1024)]  # what came of it is in memory all the same
    booted.disks[WRITABLE].close()
    for name in ("block_read", "block_write"):
        assert booted.errno(name, WRITABLE, 0, GPA, 512) == EIO
    assert booted.errno("block_flush", WRITABLE) == EIO


WORD = st.sampled_from([0, 512, 1024, DISK_BYTES, 1 << 20, abi.BLOCK_MOST, TOP, (1 << 64) - 1]) | st.integers(
    0, (1 << 64) - 1
)


@given(st.sampled_from(["block_read", "block_write"]), st.integers(0, 3), WORD, WORD, WORD)
def test_any_registers_are_answered(make_machine, disk_file, name, disk, offset, gpa, size):
    machine = make_machine()
    machine.disks = (Disk(disk_file), Disk(disk_file, "cow"))
    machine.add(block.PLUGIN)
    try:
        assert machine.ask(name, disk, offset, gpa, size) == size
        assert offset + size <= DISK_BYTES
        assert gpa + size <= 1 << 20
    except GuestError as error:
        assert error.errno in (ENODEV, E2BIG, EINVAL, EFAULT, EROFS)  # noqa: PT017 (one of the right answers)
    for opened in machine.disks:
        opened.close()
    machine.memory.close()


def test_code_that_is_read_from_a_disk_runs(tmp_path):
    """A routine runs, a sector is read over it, and what runs then is what was read; each twice."""
    (tmp_path / "code.img").write_bytes(b"\xb8\x07\x00\x00\x00\xc3".ljust(512, b"\xcc"))  # mov eax, 7; ret
    guest = Guest("overlay", paravirt=True)
    guest.asm("main:\ncall routine\nmov ebx, eax\ncall routine\nadd ebx, eax")
    guest.call.block_read(0, 0, "routine", 512)
    guest.asm("call routine\nadd ebx, eax\ncall routine\nlea eax, [rax + rbx]\nret")
    guest.asm("routine:\nmov eax, 1\nret\n" + "nop\n" * 600)
    with Machine(disks=[tmp_path / "code.img"]) as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 1 + 1 + 7 + 7)


SIXTY_FOUR = """
next:
    mov eax, CALL_BLOCK_READ
    xor edi, edi
    mov rsi, rbx
    shl rsi, 12
    lea rdx, [rsi + buffer]
    mov r10d, 4096
    mov rcx, rbx
    call ring_submit
    test rax, rax
    jnz failed
    inc ebx
    cmp ebx, 64
    jb next
    call ring_kick_if_needed
    xor ebx, ebx
more:
    call ring_reap
    test eax, eax
    jz failed
    cmp rdx, rbx
    jne failed
    cmp rcx, 4096
    jne failed
    inc ebx
    cmp ebx, 64
    jb more
    xor eax, eax
    ret
failed:
    mov eax, 1
    ret
"""


def test_a_ring_of_sixty_four_reads_takes_one_exit(tmp_path):
    content = os.urandom(64 * 4096)
    (tmp_path / "disk.img").write_bytes(content)
    guest = Guest("blocks", paravirt=True).bss("buffer", len(content), align=4096)
    guest.asm("main:\nmov edi, NO_PORT\ncall ring_open\nxor ebx, ebx")
    guest.asm(SIXTY_FOUR)
    ring.add(guest, entries=64)
    with Machine(disks=[tmp_path / "disk.img"]) as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0)
        assert outcome.by_key["VMCALL", "ring_kick"] == 1
        assert outcome.exits["VMCALL"] == 1 + 1 + 1  # ring_open, the kick, exit
        assert machine.vcpu.calls()[abi.BY_NAME["block_read"].number] == 64
        assert content in bytes(machine.memory.view)
