"""The wiring of the PC: ports and lines, as a guest's driver meets them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk.abi import DEBUG_EXIT_PORT
from pv.devices.i8254 import ns_of
from pv.devices.pc import Pc
from pv.disk import Disk
from pv.dispatch import DispatchTable, Shape
from pv.exits import Reason, Reply, stop
from tests.pv.devices.ata_host import make_disk
from tests.pv.devices.fakes import FakeTime, Line


class Board:
    """A PC reached through its rows, as the engine reaches it: offset = port - first, the port itself for any key."""

    def __init__(self, *disks: Disk) -> None:
        self.time = FakeTime()
        self.intr = Line()
        self.console = bytearray()
        self.classes: list[int] = []  # what CR8 was told to be
        tell = self.classes.append
        self.pc = Pc(self.console.extend, self.intr, tell, self.time.read, self.time.at, 16 << 20, disks=disks)
        self.table = DispatchTable(self.pc.rows())

    def inp(self, port: int, size: int = 1) -> int:
        row = self.table.find(Reason.IO_INSTRUCTION, port, Shape.READ)
        assert row is not None
        value = row.handler(port - max(row.first, 0), size)
        assert isinstance(value, int)
        return value

    def out(self, port: int, value: int, size: int = 1) -> Reply | None:
        row = self.table.find(Reason.IO_INSTRUCTION, port, Shape.WRITE)
        assert row is not None
        reply = row.handler(port - max(row.first, 0), size, value)
        assert reply is None or isinstance(reply, Reply)
        return reply

    def initialize_pics(self) -> None:
        for base, words in ((0x20, (0x11, 0x20, 4, 1)), (0xA0, (0x11, 0x28, 2, 1))):
            for port, word in zip((base, base + 1, base + 1, base + 1), words, strict=True):
                self.out(port, word)


@pytest.fixture
def board() -> Board:
    return Board()


def test_com1_reaches_the_console(board: Board) -> None:
    for byte in b"hello":
        assert board.out(0x3F8, byte) is None
    assert board.console == b"hello"


def test_com1_interrupts_by_line_4_and_input_waits_for_the_guest(board: Board) -> None:
    board.initialize_pics()
    board.out(0x3FC, 0x08)
    board.out(0x3F9, 0x01)
    board.pc.console_input(b"typed, and longer than one FIFO")
    got = bytearray()
    while board.intr.level:
        assert board.pc.acknowledge() == 0x24
        got.append(board.inp(0x3F8))
        board.out(0x20, 0x20)
    assert got == b"typed, and longer than one FIFO"
    assert board.pc.acknowledge() == -1


def test_the_timer_interrupts_by_line_0(board: Board) -> None:
    board.initialize_pics()
    board.out(0x43, 0x34)
    board.out(0x40, 0xE8)
    board.out(0x40, 0x03)
    for tick in (1, 2, 3):
        board.time.stop_at(ns_of(1 + 1000 * tick) - 1)
        assert not board.intr.level
        board.time.stop_at(ns_of(1 + 1000 * tick))
        assert board.pc.acknowledge() == 0x20
        board.out(0x20, 0x20)


def test_a_timer_request_waits_while_it_is_masked(board: Board) -> None:
    board.initialize_pics()
    board.out(0x21, 0x01)
    for port, value in ((0x43, 0x34), (0x40, 0xE8), (0x40, 0x03)):
        board.out(port, value)
    board.time.stop_at(ns_of(2500))
    assert not board.intr.level
    board.out(0x21, 0x00)
    assert board.pc.acknowledge() == 0x20


def test_the_clock_interrupts_by_line_8(board: Board) -> None:
    board.initialize_pics()
    board.out(0x70, 0x0B)
    board.out(0x71, 0x42)
    board.time.stop_at(1_000_000)
    assert board.pc.acknowledge() == 0x28
    board.out(0x70, 0x0C)
    assert board.inp(0x71) == 0xC0


def test_the_firmware_leaves_virtual_wire_mode(board: Board) -> None:
    apic = board.pc.apic
    assert [apic.read(offset, 4) for offset in (0xF0, 0x350, 0x360, 0x320)] == [0x1FF, 0x700, 0x400, 0x10000]
    (window,) = board.pc.windows()
    assert (window.first, window.last, window.owner) == (0xFEE0_0000, 0xFEE0_0FFF, "local APIC")
    assert window.read(0x30, 4) == 0x50014


def test_the_8259_comes_before_the_apic_and_both_are_taken(board: Board) -> None:
    board.initialize_pics()
    board.out(0x43, 0x34)
    board.out(0x40, 0xE8)
    board.out(0x40, 0x03)
    board.pc.apic.write(0x300, 4, 0x40041)
    board.time.stop_at(ns_of(1 + 1000))
    assert [board.pc.acknowledge() for _ in range(3)] == [0x20, 0x41, -1]
    assert not board.intr.level


def test_masking_lint0_silences_the_8259(board: Board) -> None:
    board.initialize_pics()
    board.pc.apic.write(0x350, 4, 0x10700)
    board.out(0x43, 0x34)
    board.out(0x40, 0xE8)
    board.out(0x40, 0x03)
    board.time.stop_at(ns_of(1 + 1000))
    assert (board.intr.level, board.pc.acknowledge()) == (False, -1)
    board.pc.apic.write(0x350, 4, 0x700)
    assert (board.intr.level, board.pc.acknowledge()) == (True, 0x20)


def test_port_b_gates_and_shows_timer_channel_2(board: Board) -> None:
    board.out(0x61, 0x01)
    for port, value in ((0x43, 0xB0), (0x42, 0xE8), (0x42, 0x03)):
        board.out(port, value)
    assert board.inp(0x61) & 0x21 == 0x01
    board.time.stop_at(ns_of(1 + 1000))
    assert board.inp(0x61) & 0x21 == 0x21


def test_a_word_to_the_cmos_is_an_index_and_a_byte(board: Board) -> None:
    board.out(0x70, 0x5A40, 2)
    assert board.inp(0x70, 2) == 0x5AFF


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_debug_exit_ends_the_guest_with_the_low_byte(board: Board, size: int) -> None:
    assert board.out(DEBUG_EXIT_PORT, 0x2A, size) == stop(0x2A)


def test_ports_without_a_chip_read_all_ones_and_are_counted(board: Board) -> None:
    assert board.inp(0x64) == 0xFF
    assert board.inp(0x1234, 4) == 0xFFFF_FFFF
    assert board.out(0x80, 1) is None
    assert board.pc.unassigned.reads == {0x64: 1, 0x1234: 1, 0x1235: 1, 0x1236: 1, 0x1237: 1}
    assert board.pc.unassigned.writes == {0x80: 1}


def test_there_is_no_pci_host(board: Board) -> None:
    board.out(0xCF8, 0x8000_0000, 4)
    assert (board.inp(0xCF8, 4), board.inp(0xCFC, 4)) == (0xFFFF_FFFF, 0xFFFF_FFFF)


def test_elcr_reads_back(board: Board) -> None:
    board.out(0x4D0, 0xFFFF, 2)
    assert board.inp(0x4D0, 2) == 0xDEF8


def test_no_chip_outlives_its_board() -> None:
    gc.disable()
    try:
        board = Board()
        watched = [weakref.ref(part) for part in (board.pc, board.pc.com1, board.pc.pit, board.pc.rtc, board.pc.pic)]
        watched.append(weakref.ref(board.pc.apic))
        del board
        assert [ref() for ref in watched] == [None] * len(watched), "reference counts alone free it"
    finally:
        gc.enable()


PORTS = st.one_of(
    st.sampled_from(
        [0x20, 0x21, 0xA0, 0xA1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, *range(0x3F6, 0x401), 0x4D0, 0x4D1, 0xCF8]
    ),
    st.integers(0, 0xFFFF),
)
OPERATION = st.one_of(
    st.tuples(st.just("in"), PORTS, st.sampled_from([1, 2, 4]), st.just(0)),
    st.tuples(st.just("out"), PORTS, st.sampled_from([1, 2, 4]), st.integers(0, 0xFFFF_FFFF)),
    st.tuples(st.just("wait"), st.integers(0, 2_000_000), st.just(0), st.just(0)),
    st.tuples(st.just("type"), st.integers(0, 40), st.just(0), st.just(0)),
    st.tuples(st.just("acknowledge"), st.just(0), st.just(0), st.just(0)),
)


@given(st.lists(OPERATION, max_size=80))
def test_any_traffic_stays_in_range(operations: list[tuple[str, int, int, int]]) -> None:
    board = Board()
    board.initialize_pics()
    for kind, number, size, value in operations:
        if kind == "in":
            assert 0 <= board.inp(number, size) < 1 << 8 * size
        elif kind == "out":
            board.out(number, value % (1 << 8 * size), size)
        elif kind == "wait":
            board.time.stop_at(board.time.now + number)
        elif kind == "type":
            board.pc.console_input(bytes(number))
        else:
            asserted = board.intr.level
            vector = board.pc.acknowledge()
            assert (vector >= 0) is asserted
            assert vector <= 255


def test_the_disk_interrupts_by_line_14_and_its_data_is_as_wide_as_asked(tmp_path: Path) -> None:
    board = Board(make_disk(tmp_path, 16), make_disk(tmp_path, 8, name="second.img"))
    board.initialize_pics()
    for port, value in ((0x1F2, 1), (0x1F3, 7), (0x1F4, 0), (0x1F5, 0), (0x1F6, 0x50), (0x1F7, 0x20)):
        board.out(port, value)
    assert board.pc.acknowledge() == 0x2E
    assert (board.inp(0x3F6), board.inp(0x1F7)) == (0x58, 0x58)
    assert [board.inp(0x1F0, size) for size in (4, 2, 2)] == [7, 7, 0]
    board.out(0x3F6, 4)
    assert board.inp(0x1F7) == 0x80
    board.out(0x3F6, 0)
    assert board.inp(0x1F2, 4) == 0x00000101  # the signature


def test_without_a_disk_there_is_no_channel(board: Board) -> None:
    assert (board.inp(0x1F7), board.inp(0x3F6), board.inp(0x1F0, 2)) == (0xFF, 0xFF, 0xFFFF)
