"""Every part of the board saves all that it is: no field is forgotten, and what comes back behaves the same."""

from __future__ import annotations

import copy
import os
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.clock import Clock
from pv.devices.pc import Pc
from pv.devices.state import SavedFields, StateError
from pv.disk import Disk
from pv.dispatch import Shape

FILE = os.memfd_create("a disk of these tests")
os.write(FILE, bytes(range(256)) * 512)
MEDIUM = f"/proc/self/fd/{FILE}"
APIC_REGISTERS = 0x10000  # ports from here on stand for the registers of the local APIC's page


class Time:
    """A vcpu's clock, moved on by hand."""

    def __init__(self) -> None:
        self.now_ns, self.deadline_ns = 0, -1

    def set_deadline(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns


class Board:
    """A PC on a real clock, whose every answer is written down."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.time = Time()
        self.disks = [Disk(MEDIUM, "cow"), Disk(MEDIUM, "ro")]
        self.clock = Clock(self.time)
        self.pc = Pc(
            lambda data: self.seen.append(data),
            lambda level: self.seen.append(level),
            lambda priority: self.seen.append(("priority", priority)),
            lambda: self.time.now_ns,
            self.clock.at,
            16 << 20,
            disks=self.disks,
        )
        self.apic = self.pc.windows()[0]
        self.rows = {
            (row.shape, port): row
            for row in self.pc.rows()
            if row.first >= 0
            for port in range(row.first, row.last + 1)
        }

    def __del__(self) -> None:
        for disk in self.disks:
            disk.close()

    def access(self, write: bool, port: int, value: int) -> None:
        if port >= APIC_REGISTERS:
            offset = (port - APIC_REGISTERS) * 16
            word = value * 0x0101_0101 if value & 1 else value
            self.seen.append(self.apic.write(offset, 4, word) if write else self.apic.read(offset, 4))
            return
        row = self.rows[Shape.WRITE if write else Shape.READ, port]
        self.seen.append(row.handler(port - row.first, 1, *([value] if write else ())))

    def step(self, what: int, port: int, value: int) -> None:
        if what < 5:
            self.access(what > 1, port, value)
        elif what == 5:
            self.time.now_ns += value * 40_000
            self.clock.fire()
        elif what == 6:
            self.seen.append(self.pc.acknowledge())
        else:
            self.pc.console_input(bytes([value]))

    def save(self) -> Any:
        return msgpack.packb([self.pc.save(), self.clock.save(), self.time.now_ns])

    def restore(self, saved: Any) -> None:
        board, registered, self.time.now_ns = msgpack.unpackb(saved, strict_map_key=False)
        self.clock.forget()
        self.pc.restore(board)
        self.clock.restore(registered)


PORTS = sorted({port for _, port in Board().rows} - {0xF4}) + [APIC_REGISTERS + index for index in range(0x40)]
STEPS = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(PORTS), st.integers(0, 255)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(STEPS, STEPS, STEPS)
def test_a_restored_board_is_the_board_that_went_on(
    before: list[tuple[int, int, int]], after: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> None:
    board, another = Board(), Board()
    for step in before:
        board.step(*step)
    saved = board.save()
    board.seen.clear()
    for step in after:
        board.step(*step)
    for step in other:
        another.step(*step)
    for one in (another, another):
        one.restore(saved)
        one.seen.clear()
        assert one.save() == saved
        for step in after:
            one.step(*step)
        assert one.seen == board.seen
        assert one.save() == board.save()
        assert one.time.deadline_ns == board.time.deadline_ns


def test_every_chip_on_the_bus_is_saved() -> None:
    pc = Board().pc
    chips = {id(claim.read.__self__) for claim in pc._bus._claims}
    known = {id(part) for part in pc.parts.values()} | {id(pc.pic)}  # the pair's ELCR bits are its chips'
    assert chips <= known, [claim.owner for claim in pc._bus._claims if id(claim.read.__self__) not in known]


@pytest.mark.parametrize("name", sorted(Board().pc.parts))
def test_every_attribute_is_saved_or_is_wiring(name: str) -> None:
    part = Board().pc.parts[name]
    assert isinstance(part, SavedFields)
    assert set(vars(part)) == set(part.saved_fields) | set(part.wiring_fields), "a field that a snapshot would lose"


def test_every_part_of_a_board_is_a_part() -> None:
    pc = Board().pc
    parts = {id(part) for part in pc.parts.values()}
    others = {name for name, value in vars(pc).items() if id(value) not in parts}
    assert others == {"pic", "_bus", "parts"}


@pytest.mark.parametrize("name", sorted(set(Board().pc.parts) - {"debug_exit", "pci"}))
def test_a_state_that_is_none_is_refused(name: str) -> None:
    board = Board()
    saved = board.pc.save()
    for field, value in saved[name].items():
        for wrong in (object(), "text", [object()], {}, 1.5):
            with pytest.raises(StateError):
                board.pc.restore({**saved, name: {**saved[name], field: wrong}})
        without = {key: kept for key, kept in saved[name].items() if key != field}
        with pytest.raises(StateError):
            board.pc.restore({**saved, name: without})
        assert type(value) in (int, bool, bytes, list, dict, type(None))


def test_a_board_without_a_part_is_refused() -> None:
    board = Board()
    with pytest.raises(StateError, match="the board has no typed"):
        board.pc.restore({})


def numbers_of(state: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every integer of a saved state stands."""
    if isinstance(state, dict | list):
        keys = state if isinstance(state, dict) else range(len(state))
        return [at for key in keys for at in numbers_of(state[key], (*path, key))]
    return [path] if type(state) is int else []


def busy_board() -> Board:
    """A board whose chips count, wait and are half-way through what they do."""
    board = Board()
    for port, value in (
        *((0x43, 0x34), (0x40, 7), (0x40, 0), (0x43, 0x76), (0x41, 9), (0x41, 0), (0x43, 0xB0), (0x42, 5), (0x42, 0)),
        *((0x1F6, 0x40), (0x1F2, 4), (0x1F7, 0x30)),
        *((APIC_REGISTERS + 0xF, 0xFF), (APIC_REGISTERS + 0x32, 0x30), (APIC_REGISTERS + 0x38, 200)),
    ):
        board.access(True, port, value)
    for _word in range(100):
        board.access(True, 0x1F0, 0xA5)
    board.time.now_ns = 5000
    return board


BUSY = busy_board().pc.save()
NUMBERS = numbers_of(BUSY)
BAD = [0, 1, -1, 16, 255, 256, 512, 1 << 16, 1 << 32, 1 << 62, 1 << 63, 1 << 64, -(1 << 64)]


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(BAD)), min_size=1, max_size=2), STEPS)
def test_a_state_with_other_numbers_is_refused_or_lived_with(
    changes: list[tuple[tuple[Any, ...], int]], steps: list[tuple[int, int, int]]
) -> None:
    state = copy.deepcopy(BUSY)
    for path, number in changes:
        part = state
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = number
    board = Board()
    board.time.now_ns = 5000
    board.clock.forget()
    try:
        board.pc.restore(state)
        board.clock.restore(0)
    except StateError:
        return
    for port in PORTS:
        board.access(False, port, 0)
        assert 0 <= board.seen[-1] <= (0xFFFF_FFFF if port >= APIC_REGISTERS else 0xFF), hex(port)
    assert -1 <= board.pc.acknowledge() <= 0xFF
    board.access(True, 0x1F7, 0xEC)
    for step in steps:
        board.step(*step)
    assert board.time.deadline_ns < 1 << 63


@pytest.mark.parametrize(
    ("field", "number"), [("sector", 1 << 20), ("left", 300), ("end", 8192), ("block", 0), ("multiple", 1 << 20)]
)
def test_a_transfer_beyond_a_disk_is_refused(field: str, number: int) -> None:
    state = copy.deepcopy(BUSY)
    state["ata"]["drives"][0][field] = number
    with pytest.raises(StateError, match="Drive"):
        Board().pc.restore(state)
