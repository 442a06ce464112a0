"""What a local APIC's timer and pins give its processor."""

from __future__ import annotations

import pytest

from pv.devices.interrupt_queue import NO_VECTOR
from pv.devices.local_apic_registers import LINT0, LINT1, Register
from pv.devices.local_interrupts import EXTERNAL
from tests.pv.devices.apic_chip import Chip

MASKED, PERIODIC, LEVEL, REMOTE_IRR = 1 << 16, 1 << 17, 1 << 15, 1 << 14
SELF, ILLEGAL_RECEIVED = 1 << 18, 1 << 6


@pytest.fixture
def chip() -> Chip:
    return Chip()


# ---- the timer ----


def test_a_one_shot_interrupts_once(chip: Chip) -> None:
    chip[Register.DIVIDE] = 0b0011
    chip[Register.LVT_TIMER] = 0x40
    chip[Register.INITIAL_COUNT] = 1000
    chip.time.stop_at(8000)
    assert chip[Register.CURRENT_COUNT] == 500
    chip.time.stop_at(15_999)
    assert not chip.intr.level
    chip.time.stop_at(16_000)
    assert chip.take() == 0x40
    chip[Register.EOI] = 0
    chip.time.stop_at(100_000)
    assert (chip.intr.rises, chip.time.deadline_ns) == (1, -1)


def test_periodic_ticks_that_wait_are_one(chip: Chip) -> None:
    chip[Register.DIVIDE] = 0b1011
    chip[Register.LVT_TIMER] = PERIODIC | 0x40
    chip[Register.INITIAL_COUNT] = 1000
    chip.time.stop_at(3500)
    assert chip.time.fired == [1000], "a tick that changes nothing wakes nobody"
    assert chip.take() == 0x40
    assert chip.time.deadline_ns == 4000
    chip.time.stop_at(4000)
    assert not chip.intr.level, "its own class is in service"
    chip[Register.EOI] = 0
    assert chip.take() == 0x40
    chip[Register.EOI] = 0
    assert chip.time.deadline_ns == 5000


def test_a_masked_timer_counts_and_asks_for_nothing(chip: Chip) -> None:
    chip[Register.LVT_TIMER] = MASKED | PERIODIC | 0x40
    chip[Register.INITIAL_COUNT] = 1000
    chip.time.stop_at(3000)
    assert (chip.time.fired, chip.time.deadline_ns, chip[Register.CURRENT_COUNT]) == ([], -1, 500)
    chip[Register.LVT_TIMER] = PERIODIC | 0x40
    assert chip.time.deadline_ns == 4000


def test_a_timer_vector_below_16_is_an_error(chip: Chip) -> None:
    chip[Register.LVT_TIMER] = 0x0F
    chip[Register.INITIAL_COUNT] = 1
    chip.time.stop_at(10)
    assert chip.errors() == ILLEGAL_RECEIVED
    assert not chip.intr.level


# ---- the pins ----


def test_lint0_as_extint_passes_an_8259_through_whatever_the_priority(chip: Chip) -> None:
    chip[Register.LVT_LINT0] = 0x700
    chip[Register.TPR] = 0xFF
    chip.apic.lint(LINT0, True)
    assert chip.intr.level
    assert chip.take() == EXTERNAL
    chip.apic.lint(LINT0, False)
    assert chip.take() == NO_VECTOR
    chip.apic.lint(LINT0, True)
    chip[Register.LVT_LINT0] = MASKED | 0x700
    assert not chip.intr.level


def test_an_8259_comes_before_what_waits_here(chip: Chip) -> None:
    chip[Register.LVT_LINT0] = 0x700
    chip[Register.ICR_LOW] = SELF | 0xFF
    chip.apic.lint(LINT0, True)
    assert chip.take() == EXTERNAL
    chip.apic.lint(LINT0, False)
    assert chip.intr.level
    assert chip.take() == 0xFF


@pytest.mark.parametrize("pin", [LINT0, LINT1])
def test_an_edge_is_one_request(chip: Chip, pin: int) -> None:
    chip[Register.LVT_LINT0 + pin] = 0x45
    chip.apic.lint(pin, True)
    chip.apic.lint(pin, True)
    assert chip.take() == 0x45
    chip[Register.EOI] = 0
    assert not chip.intr.level
    chip.apic.lint(pin, False)
    chip.apic.lint(pin, True)
    assert chip.take() == 0x45


@pytest.mark.parametrize("pin", [LINT0, LINT1])
def test_a_level_asks_again_at_the_end_of_interrupt(chip: Chip, pin: int) -> None:
    entry = Register.LVT_LINT0 + pin
    chip[entry] = LEVEL | 0x45
    chip.apic.lint(pin, True)
    assert chip[entry] == LEVEL | REMOTE_IRR | 0x45
    assert chip.take() == 0x45
    assert chip[Register.TMR + 2] == 1 << 5
    chip.apic.lint(pin, True)
    assert not chip.intr.level, "one at a time"
    chip[Register.EOI] = 0
    assert chip.take() == 0x45
    chip.apic.lint(pin, False)
    chip[Register.EOI] = 0
    assert (chip.intr.level, chip[entry]) == (False, LEVEL | 0x45)


def test_a_driven_level_is_seen_when_it_is_unmasked(chip: Chip) -> None:
    chip.apic.lint(LINT0, True)
    chip[Register.LVT_LINT0] = LEVEL | 0x45
    assert chip.take() == 0x45


def test_an_nmi_has_no_effect(chip: Chip) -> None:
    chip[Register.LVT_LINT1] = 0x400
    chip.apic.lint(LINT1, True)
    assert not chip.intr.level
