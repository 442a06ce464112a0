"""Claims, rows, and the splitting of wide accesses."""

from __future__ import annotations

import pytest

from pv.devices.bus import IsaBus, all_ones, port_rows
from pv.dispatch import ANY_KEY, Collision, DispatchTable, Row, Shape
from pv.exits import Reason, Reply, stop


class Bytes:
    """Ports that are plain memory, and remember the sizes of their accesses."""

    def __init__(self, count: int, answer: Reply | None = None) -> None:
        self.cells = bytearray(count)
        self.sizes: list[int] = []
        self.answer = answer

    def read(self, offset: int, size: int) -> int:
        self.sizes.append(size)
        return int.from_bytes(self.cells[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> Reply | None:
        self.sizes.append(size)
        self.cells[offset : offset + size] = value.to_bytes(size, "little")
        return self.answer


def handler(rows: tuple[Row, ...], port: int, shape: Shape) -> Row:
    row = DispatchTable(rows).find(Reason.IO_INSTRUCTION, port, shape)
    assert row is not None
    return row


def bus_with(*claims: tuple[str, int, int, Bytes, int]) -> tuple[IsaBus, list[int]]:
    touched: list[int] = []

    def read(offset: int, size: int) -> int:
        touched.append(offset)
        return all_ones(size)

    def write(offset: int, _size: int, _value: int) -> None:
        touched.append(offset)

    bus = IsaBus(read, write)
    for owner, first, last, chip, width in claims:
        bus.claim(owner, first, last, chip.read, chip.write, width)
    return bus, touched


def test_port_rows_are_one_each_way() -> None:
    chip = Bytes(4)
    read, write = port_rows("chip", 0x10, 0x13, chip.read, chip.write)
    assert (read.first, read.last, read.shape, read.owner) == (0x10, 0x13, Shape.READ, "chip")
    assert (write.reason, write.shape) == (Reason.IO_INSTRUCTION, Shape.WRITE)


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (-2, -1), (0xFFFF, 0x10000), (5, 4)])
def test_rows_outside_the_port_space_are_refused(first: int, last: int) -> None:
    chip = Bytes(1)
    with pytest.raises(ValueError, match="chip: ports"):
        port_rows("chip", first, last, chip.read, chip.write)


def test_a_wide_access_to_a_narrow_chip_is_split_little_endian() -> None:
    chip = Bytes(4)
    bus, touched = bus_with(("chip", 0x10, 0x13, chip, 1))
    rows = bus.rows()
    assert handler(rows, 0x10, Shape.WRITE).handler(0, 4, 0x44332211) is None
    assert chip.cells == bytes.fromhex("11223344")
    assert handler(rows, 0x11, Shape.READ).handler(1, 2) == 0x3322
    assert chip.sizes == [1] * 6
    assert touched == []


def test_a_split_access_goes_on_to_the_neighbour_and_to_nobody() -> None:
    low, high = Bytes(1), Bytes(1)
    bus, touched = bus_with(("low", 0x10, 0x10, low, 1), ("high", 0x11, 0x11, high, 1))
    rows = bus.rows()
    handler(rows, 0x10, Shape.WRITE).handler(0, 4, 0xDDCCBBAA)
    assert (low.cells.hex(), high.cells.hex(), touched) == ("aa", "bb", [0x12, 0x13])
    assert handler(rows, 0x10, Shape.READ).handler(0, 4) == 0xFFFFBBAA
    assert handler(rows, 0x0F, Shape.READ).handler(0x0F, 2) == 0xAAFF, "from an unclaimed port into a claimed one"


def test_a_wide_chip_takes_wide_accesses_whole_but_not_past_its_end() -> None:
    chip = Bytes(4)
    bus, touched = bus_with(("chip", 0x10, 0x13, chip, 4))
    rows = bus.rows()
    handler(rows, 0x10, Shape.WRITE).handler(0, 4, 0x04030201)
    assert chip.sizes == [4]
    assert handler(rows, 0x12, Shape.READ).handler(2, 4) == 0xFFFF0403
    assert touched == [0x14, 0x15]


def test_the_first_reply_ends_a_split_access() -> None:
    ending = Bytes(2, stop(7))
    bus, _ = bus_with(("ending", 0x10, 0x11, ending, 1))
    assert handler(bus.rows(), 0x10, Shape.WRITE).handler(0, 2, 0x0102) == stop(7)
    assert ending.cells == b"\x02\x00"


def test_port_addresses_wrap() -> None:
    bottom = Bytes(1)
    bottom.cells[0] = 0x5A
    bus, touched = bus_with(("bottom", 0, 0, bottom, 1))
    assert handler(bus.rows(), 0xFFFF, Shape.READ).handler(0xFFFF, 2) == 0x5AFF
    assert touched == [0xFFFF]


def test_unclaimed_ports_are_rows_of_any_key_and_two_claims_collide_by_name() -> None:
    one, other = Bytes(2), Bytes(2)
    bus, _ = bus_with(("one", 0x10, 0x11, one, 1), ("other", 0x11, 0x12, other, 1))
    assert [row.first for row in bus.rows()[-2:]] == [ANY_KEY, ANY_KEY]
    with pytest.raises(Collision, match=r"claimed by one .* and by other"):
        DispatchTable(bus.rows())


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_fifo_takes_every_size_at_one_port(size: int) -> None:
    bus, touched = bus_with(("next", 0x11, 0x13, chip := Bytes(3), 1))
    fifo = Bytes(4)
    bus.claim_fifo("fifo", 0x10, fifo.read, fifo.write)
    handler(bus.rows(), 0x10, Shape.WRITE).handler(0, size, 5)
    assert handler(bus.rows(), 0x10, Shape.READ).handler(0, size) == 5
    assert (fifo.sizes, chip.sizes, touched) == ([size, size], [], [])


def test_an_access_that_begins_before_a_fifo_gives_it_a_byte() -> None:
    bus, touched = bus_with()
    fifo = Bytes(4)
    bus.claim_fifo("fifo", 0x10, fifo.read, fifo.write)
    handler(bus.rows(), 0x0F, Shape.WRITE).handler(0x0F, 2, 0x1234)
    assert (fifo.cells[0], fifo.sizes, touched) == (0x12, [1], [0x0F])
