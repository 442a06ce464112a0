"""One 8259A by its data sheet."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.devices.i8259 import I8259
from tests.pv.devices.fakes import Line

EOI, ROTATE_EOI, SPECIFIC_EOI = 0x20, 0xA0, 0x60
READ_IRR, READ_ISR, POLL = 0x0A, 0x0B, 0x0C


class Chip:
    """A chip with its wire, and short names for what a driver does."""

    def __init__(self, *words: int) -> None:
        self.line = Line()
        self.pic = I8259(self.line)
        for port, word in zip((0, 1, 1, 1), words, strict=False):
            self.pic.write(port, 1, word)

    def command(self, value: int) -> None:
        self.pic.write(0, 1, value)

    def mask(self, value: int) -> None:
        self.pic.write(1, 1, value)

    def status(self, command: int) -> int:
        self.command(command)
        return self.pic.read(0, 1)

    def request(self, *irqs: int) -> None:
        for irq in irqs:
            self.pic.line(irq, False)
            self.pic.line(irq, True)


@pytest.fixture
def chip() -> Chip:
    return Chip(0x11, 0x20, 0x04, 0x01)


def test_before_initialization_nothing_interrupts() -> None:
    chip = Chip()
    chip.request(*range(8))
    assert not chip.line.level


def test_initialization_takes_icw2_to_4_on_the_data_port_and_clears_masks(chip: Chip) -> None:
    assert chip.pic.read(1, 1) == 0
    chip.mask(0xA5)
    assert chip.pic.read(1, 1) == 0xA5
    chip.command(0x11)
    chip.request(3)
    assert not chip.line.level, "in the middle of initialization"
    for word in (0x40, 0x04, 0x01):
        chip.pic.write(1, 1, word)
    assert chip.line.level
    assert chip.pic.acknowledge() == 0x43


@pytest.mark.parametrize(("icw1", "words"), [(0x10, 2), (0x11, 3), (0x12, 1), (0x13, 2)])
def test_icw1_says_how_many_words_follow(icw1: int, words: int) -> None:
    chip = Chip(icw1)
    for _ in range(words):
        chip.pic.write(1, 1, 0x08)
    chip.pic.write(1, 1, 0x77)
    assert chip.pic.read(1, 1) == 0x77


def test_icw1_forgets_edges_that_came_before() -> None:
    chip = Chip()
    chip.request(0)
    for port, word in zip((0, 1, 1, 1), (0x11, 0x20, 4, 1), strict=True):
        chip.pic.write(port, 1, word)
    assert (chip.line.level, chip.status(READ_IRR)) == (False, 0)


def test_the_vector_is_the_base_and_the_line(chip: Chip) -> None:
    for irq in range(8):
        chip.request(irq)
        assert chip.pic.acknowledge() == 0x20 + irq
        chip.command(EOI)


def test_low_bits_of_icw2_do_not_count() -> None:
    chip = Chip(0x11, 0x27, 0x04, 0x01)
    chip.request(1)
    assert chip.pic.acknowledge() == 0x21


def test_irr_moves_to_isr_and_eoi_clears_it(chip: Chip) -> None:
    chip.request(5)
    assert (chip.status(READ_IRR), chip.status(READ_ISR)) == (0x20, 0)
    chip.pic.acknowledge()
    assert (chip.status(READ_IRR), chip.status(READ_ISR)) == (0, 0x20)
    chip.command(EOI)
    assert chip.status(READ_ISR) == 0


def test_the_chosen_status_register_stays_chosen(chip: Chip) -> None:
    chip.request(5)
    chip.pic.acknowledge()
    assert chip.status(READ_ISR) == 0x20
    assert chip.pic.read(0, 1) == 0x20


def test_lower_lines_come_first_and_nest(chip: Chip) -> None:
    chip.request(6, 3)
    assert chip.pic.acknowledge() == 0x23
    assert not chip.line.level, "6 waits for the end of 3"
    chip.request(1)
    assert chip.line.level
    assert chip.pic.acknowledge() == 0x21
    chip.command(EOI)
    assert (chip.status(READ_ISR), chip.line.level) == (0x08, False), "the highest in service ended"
    chip.command(EOI)
    assert chip.pic.acknowledge() == 0x26


def test_int_falls_with_the_acknowledge_and_rises_for_what_still_waits() -> None:
    chip = Chip(0x11, 0x20, 0x04, 0x03)  # automatic EOI
    chip.request(1, 2)
    assert chip.line.rises == 1
    assert chip.pic.acknowledge() == 0x21
    assert (chip.line.level, chip.line.rises) == (True, 2)


def test_a_masked_line_waits(chip: Chip) -> None:
    chip.mask(0x02)
    chip.request(1)
    assert not chip.line.level
    chip.mask(0)
    assert chip.line.level


def test_specific_eoi_ends_the_line_it_names(chip: Chip) -> None:
    chip.request(4)
    chip.pic.acknowledge()
    chip.request(2)
    chip.pic.acknowledge()
    chip.command(SPECIFIC_EOI | 4)
    assert chip.status(READ_ISR) == 0x04


def test_eoi_with_nothing_in_service_does_nothing(chip: Chip) -> None:
    chip.command(EOI)
    chip.command(SPECIFIC_EOI | 3)
    assert chip.status(READ_ISR) == 0


def test_a_request_that_is_gone_gives_ir7_without_service(chip: Chip) -> None:
    chip.request(3)
    chip.pic.line(3, False)
    assert not chip.line.level
    assert chip.pic.acknowledge() == 0x27
    assert chip.status(READ_ISR) == 0


def test_an_edge_requests_once_and_a_level_again_and_again(chip: Chip) -> None:
    chip.request(3)
    chip.pic.acknowledge()
    chip.command(EOI)
    chip.pic.line(3, True)
    assert not chip.line.level, "still the same edge"
    chip.pic.set_level_triggered(1 << 5)
    chip.pic.line(5, True)
    assert chip.pic.acknowledge() == 0x25
    chip.command(EOI)
    assert chip.pic.acknowledge() == 0x25
    chip.pic.line(5, False)
    chip.command(EOI)
    assert not chip.line.level


def test_ltim_makes_all_lines_level_triggered() -> None:
    chip = Chip(0x19, 0x20, 0x04, 0x01)
    chip.pic.line(6, True)
    chip.pic.acknowledge()
    chip.command(EOI)
    assert chip.line.level


def test_automatic_eoi_leaves_nothing_in_service() -> None:
    chip = Chip(0x11, 0x20, 0x04, 0x03)
    chip.request(2)
    chip.pic.acknowledge()
    assert chip.status(READ_ISR) == 0


def test_rotation_on_eoi_gives_the_line_served_the_lowest_priority(chip: Chip) -> None:
    chip.request(2)
    chip.pic.acknowledge()
    chip.command(ROTATE_EOI)
    chip.request(2, 5)
    assert chip.pic.acknowledge() == 0x25


def test_rotation_in_automatic_eoi() -> None:
    chip = Chip(0x11, 0x20, 0x04, 0x03)
    chip.command(0x80)
    chip.request(0)
    chip.pic.acknowledge()
    chip.request(0, 7)
    assert chip.pic.acknowledge() == 0x27
    chip.command(0x00)
    chip.request(0)
    assert chip.pic.acknowledge() == 0x20


def test_set_priority_names_the_lowest(chip: Chip) -> None:
    chip.command(0xC0 | 3)
    chip.request(3, 4, 0)
    order = []
    for _ in range(3):
        order.append(chip.pic.acknowledge() - 0x20)
        chip.command(EOI)
    assert order == [4, 0, 3]


def test_rotation_on_specific_eoi(chip: Chip) -> None:
    chip.request(6)
    chip.pic.acknowledge()
    chip.command(0xE0 | 6)
    assert chip.status(READ_ISR) == 0
    chip.request(6, 7)
    assert chip.pic.acknowledge() == 0x27


def test_special_mask_mode_lets_lower_lines_in_while_one_is_masked_in_service(chip: Chip) -> None:
    chip.request(1)
    chip.pic.acknowledge()
    chip.request(4)
    assert not chip.line.level
    chip.mask(0x02)
    chip.command(0x68)
    assert chip.pic.acknowledge() == 0x24
    chip.command(EOI)
    assert chip.status(READ_ISR) == 0x02, "a non-specific EOI does not clear what is masked"
    chip.command(0x48)
    chip.request(4)
    assert not chip.line.level


def test_special_fully_nested_mode_lets_a_cascade_line_interrupt_itself() -> None:
    plain = Chip(0x11, 0x20, 0x04, 0x01)
    nested = Chip(0x11, 0x20, 0x04, 0x11)
    for chip, expected in ((plain, False), (nested, True)):
        chip.request(2)
        chip.pic.acknowledge()
        chip.request(2)
        assert chip.line.level is expected


def test_poll_serves_as_an_acknowledge_would(chip: Chip) -> None:
    chip.request(6)
    chip.command(POLL)
    assert chip.pic.read(0, 1) == 0x86
    assert (chip.status(READ_ISR), chip.line.level) == (0x40, False)
    chip.command(POLL)
    assert chip.pic.read(1, 1) & 0x80 == 0


def test_a_poll_keeps_what_it_found_until_it_is_read(chip: Chip) -> None:
    chip.request(6)
    chip.command(POLL)
    chip.request(1)
    assert chip.pic.read(0, 1) == 0x86
    assert chip.pic.acknowledge() == 0x21


def test_what_is_in_service_and_not_masked_still_nests_in_special_mask_mode(chip: Chip) -> None:
    chip.request(1)
    chip.pic.acknowledge()
    chip.mask(0x02)
    chip.command(0x68)
    chip.request(4)
    chip.pic.acknowledge()
    chip.request(6)
    assert not chip.line.level
    chip.request(3)
    assert chip.pic.acknowledge() == 0x23


def test_icw3_means_lines_to_a_master_and_an_identity_to_a_slave() -> None:
    for slave, expected in ((False, (0xFA, 7)), (True, (0, 2))):
        chip = I8259(Line(), slave=slave)
        for port, word in zip((0, 1, 1, 1), (0x11, 0x20, 0xFA, 0x01), strict=True):
            chip.write(port, 1, word)
        assert (chip.slaves, chip.identity) == expected
        chip.write(0, 1, 0x13)
        assert (chip.slaves, chip.identity) == (0, 7)


def test_buffered_mode_changes_nothing() -> None:
    chip = Chip(0x11, 0x20, 0x04, 0x0D)
    chip.request(3)
    assert (chip.pic.acknowledge(), chip.status(READ_ISR)) == (0x23, 0x08)


class Reference:
    """The data sheet's words as sets and a list: `order` has the lines, highest priority first."""

    def __init__(self, auto_eoi: bool, nested: bool, slaves: int) -> None:
        self.auto_eoi, self.nested, self.slaves = auto_eoi, nested, slaves
        self.order = list(range(8))
        self.requested: set[int] = set()
        self.serving: list[int] = []
        self.masked: set[int] = set()
        self.special = self.rotates = False

    def next(self) -> int | None:
        for irq in self.order:
            held = irq in self.serving and not (self.special and irq in self.masked)
            if irq in self.requested and irq not in self.masked and (
                not held or (self.nested and self.slaves >> irq & 1)
            ):  # fmt: skip
                return irq
            if held:
                return None
        return None

    def rotate(self, irq: int) -> None:
        while self.order[-1] != irq:
            self.order.append(self.order.pop(0))

    def take(self) -> int | None:
        irq = self.next()
        if irq is not None:
            self.requested.discard(irq)
            if not self.auto_eoi:
                self.serving.append(irq)
            elif self.rotates:
                self.rotate(irq)
        return irq

    def ocw2(self, command: int, level: int) -> None:
        seen = [irq for irq in self.order if irq in self.serving and not (self.special and irq in self.masked)]
        ended = {1: seen[:1], 5: seen[:1], 3: [level], 7: [level]}.get(command, [])
        for irq in ended:
            self.serving = [other for other in self.serving if other != irq]
            if command in (5, 7):
                self.rotate(irq)
        if command == 6:
            self.rotate(level)
        if command in (0, 4):
            self.rotates = command == 4


STEP = st.one_of(
    st.tuples(st.just("request"), st.integers(0, 7)), st.tuples(st.just("take"), st.just(0)),
    st.tuples(st.just("ocw1"), st.integers(0, 255)), st.tuples(st.just("poll"), st.just(0)),
    st.tuples(st.just("ocw2"), st.builds(lambda word, irq: word << 5 | irq, st.integers(0, 7), st.integers(0, 7))),
    st.tuples(st.just("special"), st.booleans()),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=60), st.booleans(), st.booleans(), st.sampled_from([0, 4, 0xFF]))
def test_priorities_are_those_of_the_data_sheet(
    steps: list[tuple[str, int]], auto_eoi: bool, nested: bool, slaves: int
) -> None:
    chip, model = Chip(0x11, 0x20, slaves, 1 | auto_eoi << 1 | nested << 4), Reference(auto_eoi, nested, slaves)
    for step, operand in steps:
        match step:
            case "request":
                chip.request(operand)
                model.requested.add(operand)
            case "take" if chip.line.level:
                assert chip.pic.acknowledge() - 0x20 == model.take()
            case "poll":
                irq = model.take()
                chip.command(POLL)
                assert chip.pic.read(0, 1) == (0 if irq is None else 0x80 | irq)
            case "ocw1":
                chip.mask(operand)
                model.masked = {irq for irq in range(8) if operand >> irq & 1}
            case "ocw2":
                chip.command(operand)
                model.ocw2(operand >> 5, operand % 8)
            case "special":
                chip.command(0x68 if operand else 0x48)
                model.special = bool(operand)
        assert chip.line.level is (model.next() is not None)
        assert chip.status(READ_ISR) == sum(1 << irq for irq in set(model.serving))
        assert chip.status(READ_IRR) == sum(1 << irq for irq in model.requested)


OPERATION = st.one_of(
    st.tuples(st.just("line"), st.integers(0, 7), st.integers(0, 1)),
    st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, 255)),
    st.tuples(st.just("read"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("elcr"), st.integers(0, 255), st.just(0)),
    st.tuples(st.just("acknowledge"), st.just(0), st.just(0)),
)


@given(st.lists(OPERATION, max_size=100), st.sampled_from([0, 4]))
def test_any_accesses_stay_in_range_and_int_means_a_real_request(
    operations: list[tuple[str, int, int]], slaves: int
) -> None:
    chip = Chip(0x11, 0x20, slaves, 0x01)
    for kind, number, value in operations:
        if kind == "line":
            chip.pic.line(number, bool(value))
        elif kind == "write":
            chip.pic.write(number, 1, value)
        elif kind == "read":
            assert 0 <= chip.pic.read(number, 1) <= 255
        elif kind == "elcr":
            chip.pic.set_level_triggered(number)
        else:
            waiting = chip.pic._irr & ~chip.pic._imr
            asserted = chip.line.level
            vector = chip.pic.acknowledge()
            assert 0 <= vector <= 255
            assert not asserted or waiting >> vector % 8 & 1, "what was served had been requested"
        assert chip.line.level is chip.pic.asserted


@given(st.permutations(range(8)), st.integers(0, 7))
def test_requests_are_served_in_order_of_rank_whatever_their_order_of_arrival(order: list[int], lowest: int) -> None:
    chip = Chip(0x11, 0x20, 0x04, 0x01)
    chip.command(0xC0 | lowest)
    chip.request(*order)
    served = []
    while chip.line.level:
        served.append(chip.pic.acknowledge() - 0x20)
        chip.command(EOI)
    assert served == list(itertools.islice(itertools.cycle(range(8)), lowest + 1, lowest + 9))
