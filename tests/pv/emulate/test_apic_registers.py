"""CR8, IA32_APIC_BASE and the MSRs of x2APIC mode, over a real chip."""

from __future__ import annotations

import pytest

from pv.emulate.apic_registers import APIC_BASE
from pv.emulate.architecture import GP_0
from pv.exits import NEXT, Exit, Reason, Reply
from tests.pv.emulate.recording_vcpu import Guest

WRITE_CR8, READ_CR8 = "440f22c0", "440f20c0"  # mov cr8, rax; mov rax, cr8
ENABLED = 0xFEE0_0900
DISABLED = 0xFEE0_0100


def read_base(guest: Guest) -> int:
    assert guest.answer(Exit(Reason.MSR_READ, APIC_BASE)) is NEXT
    return int(guest.vcpu.rdx << 32 | guest.vcpu.rax)


@pytest.mark.parametrize(("value", "reply"), [(0, NEXT), (15, NEXT), (16, GP_0), (1 << 63, GP_0)])
def test_cr8_has_four_bits(guest: Guest, value: int, reply: Reply) -> None:
    guest.vcpu.rax = value
    assert guest.execute(WRITE_CR8) == reply
    assert guest.virtual.cr8 == (value if reply is NEXT else 0)


def test_cr8_is_the_upper_half_of_the_task_priority(guest: Guest) -> None:
    guest.vcpu.rax = 9
    guest.execute(WRITE_CR8)
    assert guest.apic.read(0x80, 4) == 0x90
    guest.apic.write(0x80, 4, 0x6F)
    assert guest.execute(READ_CR8) is NEXT
    assert guest.vcpu.rax == 6


def test_lowering_cr8_lets_an_interrupt_in(guest: Guest) -> None:
    guest.apic.write(0xF0, 4, 0x1FF)
    guest.vcpu.rax = 4
    guest.execute(WRITE_CR8)
    guest.apic.write(0x300, 4, 0x40041)
    assert not guest.intr.level
    guest.vcpu.rax = 3
    guest.execute(WRITE_CR8)
    assert guest.intr.level


def test_the_apic_can_be_disabled_and_comes_back_as_after_reset(guest: Guest) -> None:
    assert read_base(guest) == ENABLED
    guest.apic.write(0xF0, 4, 0x1FF)
    assert guest.answer(Exit(Reason.MSR_WRITE, APIC_BASE, DISABLED)) is NEXT
    assert read_base(guest) == DISABLED
    assert guest.answer(Exit(Reason.MSR_WRITE, APIC_BASE, ENABLED)) is NEXT
    assert guest.apic.read(0xF0, 4) == 0xFF


@pytest.mark.parametrize("value", [DISABLED | 1 << 10, 0xFEC0_0900, ENABLED & ~0x100, ENABLED | 1, ENABLED | 1 << 36])
def test_nothing_else_of_the_base_may_change(guest: Guest, value: int) -> None:
    assert guest.answer(Exit(Reason.MSR_WRITE, APIC_BASE, value)) == GP_0
    assert read_base(guest) == ENABLED


def test_the_registers_are_msrs_in_x2apic_mode_alone(guest: Guest) -> None:
    def write(msr: int, value: int) -> Reply:
        return guest.answer(Exit(Reason.MSR_WRITE, msr, value))

    def read(msr: int) -> Reply:
        guest.vcpu.rax = guest.vcpu.rdx = 0x5555
        return guest.answer(Exit(Reason.MSR_READ, msr))

    assert (read(0x803), write(0x80F, 0x1FF)) == (GP_0, GP_0)
    assert write(APIC_BASE, ENABLED | 1 << 10) is NEXT
    assert read_base(guest) == ENABLED | 1 << 10
    assert (read(0x803), guest.vcpu.rax, guest.vcpu.rdx) == (NEXT, 0x50014, 0)
    assert (write(0x80F, 0x1FF), guest.apic.read(0xF0, 4)) == (NEXT, 0xFFFF_FFFF)
    assert write(0x830, 0x7_0000_0041) is NEXT
    assert (read(0x830), guest.vcpu.rax, guest.vcpu.rdx) == (NEXT, 0x41, 7)
    assert (write(0x83F, 0x41), guest.intr.level) == (NEXT, True)
    assert (read(0x83F), guest.vcpu.rax) == (GP_0, 0x5555)
