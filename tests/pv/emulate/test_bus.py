"""Operands that are memory, a device, or both: in pieces, in cycles, and not at all."""

from __future__ import annotations

from typing import Any

import pytest

from pv.devices.bus import Window
from pv.emulate.bus import GuestBus, Piece
from pv.engines.base import GuestFault
from pv.exits import NEXT, Reply, stop
from pv.memory import GuestMemory
from tests.pv.emulate.recording_vcpu import RecordingVcpu

PAGE, DEVICE = 0x1000, 0x9000
Seen = list[tuple[str, int, int, int]]


def bus(seen: Seen, reply: Reply | None = None) -> GuestBus:
    def read(offset: int, size: int) -> int:
        seen.append(("read", offset, size, 0))
        return int.from_bytes(bytes((offset + i) & 0xFF for i in range(size)), "little")

    def write(offset: int, size: int, value: int) -> Reply | None:
        seen.append(("write", offset, size, value))
        return reply

    vcpu: Any = RecordingVcpu(GuestMemory(1 << 20))
    vcpu.absent = {0xB}
    return GuestBus(vcpu, [Window("test", DEVICE, DEVICE + PAGE - 1, read, write)])


def test_an_operand_in_one_page_is_one_piece() -> None:
    assert bus([]).locate(0x8FF8, 8) == [Piece(0x8FF8, 0x8FF8, 8)]


def test_an_operand_across_pages_is_two() -> None:
    assert bus([]).locate(0x8FFA, 16) == [Piece(0x8FFA, 0x8FFA, 6), Piece(DEVICE, DEVICE, 10)]


def test_addresses_wrap() -> None:
    assert [piece.gva for piece in bus([]).locate((1 << 64) - 2, 4)] == [(1 << 64) - 2, 0]


@pytest.mark.parametrize("write", [False, True])
def test_a_page_that_is_absent_faults_before_anything_is_read(write: bool) -> None:
    seen: Seen = []
    with pytest.raises(GuestFault) as caught:
        bus(seen).locate(0xAFFC, 8, write=write)
    assert (caught.value.vector, caught.value.error_code, seen) == (14, 2 * write, [])


@pytest.mark.parametrize(
    ("size", "cycles"), [(1, [1]), (2, [2]), (4, [4]), (8, [8]), (16, [8, 8]), (3, [1] * 3), (10, [1] * 10)]
)
def test_the_cycles_that_a_device_sees(size: int, cycles: list[int]) -> None:
    seen: Seen = []
    made = bus(seen)
    pieces = [Piece(DEVICE + 0x20, DEVICE + 0x20, size)]
    value = made.load(pieces)
    assert value == int.from_bytes(bytes(range(0x20, 0x20 + size)), "little")
    assert made.store(pieces, value) is NEXT
    assert [entry[2] for entry in seen if entry[0] == "read"] == cycles
    writes = [entry for entry in seen if entry[0] == "write"]
    assert b"".join(entry[3].to_bytes(entry[2], "little") for entry in writes) == bytes(range(0x20, 0x20 + size))


def test_memory_and_device_make_one_value() -> None:
    seen: Seen = []
    made = bus(seen)
    pieces = made.locate(DEVICE - 2, 4, write=True)
    assert made.store(pieces, 0x44332211) is NEXT
    assert made.vcpu.read_linear(DEVICE - 2, 2) == b"\x11\x22"
    assert seen == [("write", 0, 2, 0x4433)]
    assert made.load(pieces) == 0x01002211


def test_a_reply_ends_the_access() -> None:
    seen: Seen = []
    ended = stop(3)
    made = bus(seen, ended)
    assert made.store([Piece(DEVICE, DEVICE, 16)], 1) is ended
    assert len(seen) == 1
