"""Master and slave 8259A as a PC cascades them."""

from __future__ import annotations

import pytest

from pv.devices.pic_pair import NO_INTERRUPT, PicPair
from tests.pv.devices.fakes import Line

EOI, READ_ISR = 0x20, 0x0B


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def pair(line: Line) -> PicPair:
    pair = PicPair(line)
    for chip, words in ((pair.master, (0x11, 0x30, 0x04, 0x01)), (pair.slave, (0x11, 0x38, 0x02, 0x01))):
        for port, word in zip((0, 1, 1, 1), words, strict=True):
            chip.write(port, 1, word)
    return pair


def in_service(pair: PicPair) -> tuple[int, int]:
    values = []
    for chip in (pair.master, pair.slave):
        chip.write(0, 1, READ_ISR)
        values.append(chip.read(0, 1))
    return values[0], values[1]


def end(pair: PicPair, irq: int) -> None:
    if irq >= 8:
        pair.slave.write(0, 1, EOI)
    pair.master.write(0, 1, EOI)


@pytest.mark.parametrize("irq", [irq for irq in range(16) if irq != 2])
def test_each_line_has_its_vector(pair: PicPair, line: Line, irq: int) -> None:
    pair.line(irq, True)
    assert line.level
    assert pair.acknowledge() == 0x30 + irq
    assert in_service(pair) == ((1 << irq, 0) if irq < 8 else (4, 1 << irq - 8))
    end(pair, irq)
    assert in_service(pair) == (0, 0)
    assert pair.acknowledge() == NO_INTERRUPT


def test_slave_lines_rank_as_line_2(pair: PicPair) -> None:
    for irq in (3, 15, 8, 1):
        pair.line(irq, True)
    order = []
    while (vector := pair.acknowledge()) != NO_INTERRUPT:
        order.append(vector - 0x30)
        end(pair, vector - 0x30)
    assert order == [1, 8, 15, 3]


def test_a_second_slave_line_waits_until_both_chips_have_ended(pair: PicPair, line: Line) -> None:
    pair.line(12, True)
    pair.acknowledge()
    pair.line(14, True)
    assert not line.level
    pair.slave.write(0, 1, EOI)
    assert not line.level, "line 2 is still in service at the master"
    pair.master.write(0, 1, EOI)
    assert pair.acknowledge() == 0x3E


def test_nothing_asserted_gives_no_interrupt_and_changes_nothing(pair: PicPair) -> None:
    pair.line(4, True)
    pair.line(4, False)
    assert pair.acknowledge() == NO_INTERRUPT
    assert in_service(pair) == (0, 0)


def test_a_masked_slave_request_never_reaches_the_processor(pair: PicPair, line: Line) -> None:
    pair.slave.write(1, 1, 0x01)
    pair.line(8, True)
    assert not line.level
    pair.slave.write(1, 1, 0)
    assert line.level
    pair.line(8, False)
    assert not line.level


def test_elcr_reads_back_and_spares_the_lines_that_are_always_edges(pair: PicPair) -> None:
    for offset, kept in ((0, 0xF8), (1, 0xDE)):
        pair.write_elcr(offset, 1, 0xFF)
        assert pair.read_elcr(offset, 1) == kept
    pair.line(10, True)
    for _ in range(2):
        assert pair.acknowledge() == 0x3A
        end(pair, 10)


@pytest.mark.parametrize(("slaves", "identity", "vector"), [(0x00, 2, 0x32), (0x04, 5, 0xFF), (0x24, 2, 0x3C)])
def test_the_cascade_is_as_it_was_programmed(line: Line, slaves: int, identity: int, vector: int) -> None:
    """A master that knows of no slave names line 2 itself; where it waits for one that is not there, the bus floats."""
    pair = PicPair(line)
    for chip, words in ((pair.master, (0x11, 0x30, slaves, 0x01)), (pair.slave, (0x11, 0x38, identity, 0x01))):
        for port, word in zip((0, 1, 1, 1), words, strict=True):
            chip.write(port, 1, word)
    pair.line(12, True)
    assert pair.acknowledge() == vector


def test_a_second_slave_line_of_higher_priority_is_let_in_by_special_full_nesting(line: Line) -> None:
    pair = PicPair(line)
    for chip, words in ((pair.master, (0x11, 0x30, 0x04, 0x11)), (pair.slave, (0x11, 0x38, 0x02, 0x01))):
        for port, word in zip((0, 1, 1, 1), words, strict=True):
            chip.write(port, 1, word)
    pair.line(12, True)
    assert pair.acknowledge() == 0x3C
    pair.line(14, True)
    assert not line.level, "it is below what is in service at the slave"
    pair.line(9, True)
    assert pair.acknowledge() == 0x39
    assert in_service(pair) == (4, 0x12)
