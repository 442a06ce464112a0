"""One xAPIC, register by register, and the interrupts that it gives a processor."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.interrupt_queue import NO_VECTOR
from pv.devices.local_apic_registers import LINT0, NAMES, Register
from pv.devices.local_interrupts import EXTERNAL
from tests.pv.devices.apic_chip import Chip

ENABLED, DISABLED = 0xFEE0_0900, 0xFEE0_0100
MASKED, PERIODIC, LEVEL, REMOTE_IRR = 1 << 16, 1 << 17, 1 << 15, 1 << 14
SELF, ALL, OTHERS, LOGICAL = 1 << 18, 2 << 18, 3 << 18, 1 << 11
ILLEGAL_SENT, ILLEGAL_RECEIVED, ILLEGAL_REGISTER = 1 << 5, 1 << 6, 1 << 7


@pytest.fixture
def chip() -> Chip:
    return Chip()


def test_the_state_after_reset() -> None:
    chip = Chip(enabled=False)
    nonzero = {Register.VERSION: 0x50014, Register.DFR: 0xFFFF_FFFF, Register.SVR: 0xFF}
    lvts = range(Register.LVT_TIMER, Register.LVT_ERROR + 1)
    for register in NAMES:
        expected = MASKED if register in lvts else nonzero.get(register, 0)
        assert chip[register] == expected, NAMES[register]
    assert chip.apic.base == ENABLED
    assert not chip.intr.level


@pytest.mark.parametrize(
    ("register", "kept"),
    [
        (Register.TPR, 0xFF), (Register.LDR, 0xFF00_0000), (Register.SVR, 0x1FF), (Register.ICR_HIGH, 0xFF00_0000),
        (Register.LVT_TIMER, 0x300FF), (Register.LVT_THERMAL, 0x107FF), (Register.LVT_PERFORMANCE, 0x107FF),
        (Register.LVT_LINT0, 0x1A7FF), (Register.LVT_LINT1, 0x1A7FF), (Register.LVT_ERROR, 0x100FF),
        (Register.DIVIDE, 0xB), (Register.INITIAL_COUNT, 0xFFFF_FFFF), (Register.ICR_LOW, 0xCCFFF),
    ],
)  # fmt: skip
def test_only_defined_bits_are_kept(chip: Chip, register: int, kept: int) -> None:
    chip[register] = 0xFFFF_FFFF
    assert chip[register] == kept


def test_the_lower_bits_of_the_destination_format_are_ones(chip: Chip) -> None:
    chip[Register.DFR] = 0
    assert chip[Register.DFR] == 0x0FFF_FFFF


@pytest.mark.parametrize("register", [Register.ID, Register.VERSION, Register.PPR, Register.ISR, Register.IRR + 3,
                                      Register.CURRENT_COUNT])  # fmt: skip
def test_registers_that_cannot_be_written(chip: Chip, register: int) -> None:
    before = chip[register]
    chip[register] = 0xFFFF_FFFF
    assert chip[register] == before
    assert chip.errors() == 0


def test_reserved_registers_are_an_error(chip: Chip) -> None:
    for register in set(range(0x100)) - set(NAMES):
        assert chip[register] == 0
        assert chip.errors() == ILLEGAL_REGISTER
        chip[register] = 1
        assert chip.errors() == ILLEGAL_REGISTER
    assert chip[Register.APR] == chip[Register.RRD] == 0
    assert chip.errors() == 0


def test_loads_of_other_widths_read_what_stands_there(chip: Chip) -> None:
    assert chip.apic.read(0x30, 1) == 0x14
    assert chip.apic.read(0x32, 2) == 5
    assert chip.apic.read(0x30, 8) == 0x50014
    assert chip.apic.read(0x34, 4) == 0
    assert chip.apic.read(0x2C, 8) == 0x50014 << 32


@pytest.mark.parametrize(("offset", "size"), [(0x80, 1), (0x80, 2), (0x81, 4), (0x84, 4), (0x88, 8)])
def test_stores_that_are_not_a_register_are_ignored(chip: Chip, offset: int, size: int) -> None:
    chip.apic.write(offset, size, 0x50)
    assert chip[Register.TPR] == 0


def test_a_store_of_eight_bytes_writes_the_register(chip: Chip) -> None:
    chip.apic.write(0x80, 8, 0xFFFF_FFFF_0000_0050)
    assert chip[Register.TPR] == 0x50


# ---- interrupts and priority ----


def test_an_interrupt_from_request_to_end(chip: Chip) -> None:
    chip[Register.ICR_LOW] = SELF | 0x41
    assert chip.intr.level
    assert chip[Register.IRR + 2] == 1 << 1
    assert chip.take() == 0x41
    assert not chip.intr.level
    assert (chip[Register.IRR + 2], chip[Register.ISR + 2], chip[Register.TMR + 2]) == (0, 2, 0)
    assert chip[Register.PPR] == 0x40
    chip[Register.EOI] = 0
    assert (chip[Register.ISR + 2], chip[Register.PPR]) == (0, 0)
    assert chip.take() == NO_VECTOR


def test_a_higher_class_interrupts_a_lower_one_and_not_the_same(chip: Chip) -> None:
    for vector in (0x45, 0x4F, 0x51):
        chip[Register.ICR_LOW] = SELF | vector
        if vector == 0x45:
            assert chip.take() == 0x45
    assert chip.take() == 0x51
    assert chip.take() == NO_VECTOR
    chip[Register.EOI] = 0
    assert not chip.intr.level
    chip[Register.EOI] = 0
    assert chip.intr.level
    assert chip.take() == 0x4F


def test_the_task_priority_holds_off_its_class_and_those_below(chip: Chip) -> None:
    chip[Register.TPR] = 0x4A
    chip[Register.ICR_LOW] = SELF | 0x4F
    assert not chip.intr.level
    chip[Register.TPR] = 0x3F
    assert chip.intr.level
    chip[Register.TPR] = 0x40
    assert not chip.intr.level, "INTR falls when the priority is raised before the processor takes it"
    assert chip.take() == NO_VECTOR
    assert chip.classes == [0, 4, 3, 4]


def test_the_end_of_nothing_is_no_harm(chip: Chip) -> None:
    chip[Register.EOI] = 0
    assert chip.errors() == 0


# ---- interprocessor interrupts ----


@pytest.mark.parametrize(
    ("command", "high", "arrives"),
    [
        (SELF, 0, True), (ALL, 0x77, True), (OTHERS, 0, False), (0, 0, True), (0, 0xFF, True), (0, 1, False),
        (LOGICAL, 0x02, True), (LOGICAL, 0x0C, False), (LOGICAL, 0xFF, True), (0x100, 0, True),
        (0x200, 0, False), (0x300, 0, False), (0x400, 0, False), (0x500, 0, False), (0x600, 0, False),
        (SELF | 0x100, 0, False), (SELF | 0x500, 0, False), (0x700, 0, False),
    ],
)  # fmt: skip
def test_who_is_reached(chip: Chip, command: int, high: int, arrives: bool) -> None:
    chip[Register.LDR] = 0x03 << 24
    chip[Register.ICR_HIGH] = high << 24
    chip[Register.ICR_LOW] = command | 0x60
    assert chip.intr.level is arrives
    assert chip.errors() == 0
    assert chip[Register.ICR_LOW] == command | 0x60


@pytest.mark.parametrize(
    ("destination", "arrives"), [(0x21, True), (0x23, True), (0x22, False), (0x31, False), (0xF1, True)]
)
def test_clusters(chip: Chip, destination: int, arrives: bool) -> None:
    chip[Register.DFR] = 0
    chip[Register.LDR] = 0x21 << 24
    chip[Register.ICR_HIGH] = destination << 24
    chip[Register.ICR_LOW] = LOGICAL | 0x60
    assert chip.intr.level is arrives


@pytest.mark.parametrize("vector", [0, 15])
def test_a_vector_below_16_is_an_error(chip: Chip, vector: int) -> None:
    chip[Register.ICR_LOW] = SELF | vector
    assert not chip.intr.level
    assert chip.errors() == ILLEGAL_SENT


def test_errors_interrupt_once_and_show_after_a_write(chip: Chip) -> None:
    chip[Register.LVT_ERROR] = 0x70
    chip[Register.ICR_LOW] = SELF | 3
    chip[Register.ICR_LOW] = SELF | 3
    assert chip[Register.ESR] == 0
    assert chip.take() == 0x70
    assert chip.take() == NO_VECTOR
    assert chip.errors() == ILLEGAL_SENT
    assert chip.errors() == 0


def test_while_disabled_by_software_nothing_new_is_taken(chip: Chip) -> None:
    chip[Register.LVT_TIMER] = 0x40
    chip[Register.ICR_LOW] = SELF | 0x50
    chip[Register.SVR] = 0xFF
    assert chip[Register.LVT_TIMER] == MASKED | 0x40
    chip[Register.LVT_TIMER] = 0x40
    assert chip[Register.LVT_TIMER] == MASKED | 0x40, "the mask cannot be cleared"
    chip[Register.ICR_LOW] = SELF | 0x60
    assert chip.take() == 0x50, "what waited before is kept"
    assert chip.take() == NO_VECTOR


# ---- IA32_APIC_BASE ----


def test_without_the_apic_lint0_is_intr_and_the_page_is_nobodys(chip: Chip) -> None:
    chip[Register.ICR_LOW] = SELF | 0x50
    assert chip.apic.write_base(DISABLED)
    assert chip.apic.base == DISABLED
    assert not chip.intr.level
    assert chip[Register.VERSION] == 0xFFFF_FFFF
    chip[Register.TPR] = 0x50
    chip.apic.lint(LINT0, True)
    assert chip.take() == EXTERNAL
    assert chip.apic.write_base(ENABLED)
    assert (chip[Register.SVR], chip[Register.TPR], chip[Register.LVT_LINT0]) == (0xFF, 0, MASKED)


def test_a_chip_is_freed_with_its_last_reference() -> None:
    gc.disable()
    try:
        chip = Chip()
        chip[Register.LVT_TIMER] = PERIODIC | 0x40
        chip[Register.INITIAL_COUNT] = 1000
        watched, clock = weakref.ref(chip.apic), chip.time.clock
        del chip
        clock.close()  # the clock alone holds a chip whose timer runs
        assert watched() is None
    finally:
        gc.enable()


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFF), st.sampled_from([1, 2, 4, 8]), st.integers(0, (1 << 64) - 1)), max_size=60
    )
)
def test_any_traffic_stays_in_range(traffic: list[tuple[int, int, int]]) -> None:
    chip = Chip()
    for offset, size, value in traffic:
        chip.apic.write(offset, size, value & (1 << 8 * size) - 1)
        assert 0 <= chip.apic.read(offset, size) < 1 << 8 * size
        chip.time.stop_at(chip.time.now + value % 5000)
        if chip.intr.level and value % 3 == 0:
            assert 16 <= chip.take() <= 255
