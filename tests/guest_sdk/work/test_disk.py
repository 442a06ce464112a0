"""The disk job's model: which blocks, in which order, and what comes back from the one that is written."""

from __future__ import annotations

from guest_sdk import Guest
from guest_sdk.work import FACTOR, add, disk
from pv.machine import Machine

WORDS = disk.BLOCK // 8
OWN = """
start_disk:
ret
next_block:
push rbx
jmp disk_failed
store_block:
load_block:
ret
"""


def word(block: int, index: int) -> int:
    at = block * disk.BLOCK + 8 * index
    return int.from_bytes(disk.contents()[at : at + 8], "little")


def test_the_disk_is_noise_and_a_block_of_zeroes() -> None:
    contents = disk.contents()
    assert len(contents) == disk.DISK_BYTES == (disk.BLOCKS + 1) * disk.BLOCK
    assert contents[disk.WRITTEN * disk.BLOCK :] == bytes(disk.BLOCK)
    blocks = {contents[at : at + disk.BLOCK] for at in range(0, disk.DISK_BYTES, disk.BLOCK)}
    assert len(blocks) == disk.BLOCKS + 1


def test_every_block_comes_up_before_one_comes_again() -> None:
    assert {operation * disk.STRIDE % disk.BLOCKS for operation in range(disk.BLOCKS)} == set(range(disk.BLOCKS))


def test_the_checksum_by_hand() -> None:
    state = 0
    for block in (0, disk.STRIDE):
        for index in range(WORDS):
            state = (state * FACTOR + word(block, index)) % (1 << 64)
    back = state
    for _ in range(WORDS):
        state = (state * FACTOR + back) % (1 << 64)
    assert disk.expected(2) == state


def test_a_disk_that_fails_is_no_result() -> None:
    guest = Guest("failing", paravirt=True).asm("main:\njmp work")
    disk.add_data(guest)
    add(guest, 1, OWN + disk.TEXT)
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=5)
    assert (outcome.status, outcome.console) == (1, "")
