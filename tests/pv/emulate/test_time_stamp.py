from __future__ import annotations

import pytest

from pv.emulate.architecture import CR4_TSD, GP_0
from pv.exits import NEXT, Exit, Reason
from tests.pv.emulate.recording_vcpu import Guest


@pytest.mark.parametrize("reason", [Reason.RDTSC, Reason.RDTSCP])
def test_one_tick_is_a_nanosecond(guest: Guest, reason: Reason) -> None:
    guest.vcpu.now_ns = 0x1_2345_6789
    guest.vcpu.rcx, guest.vcpu.virtual.tsc_aux = 0x77, 0x55
    assert guest.answer(Exit(reason)) is NEXT
    assert (guest.vcpu.rax, guest.vcpu.rdx) == (0x2345_6789, 1)
    assert guest.vcpu.rcx == (0x55 if reason is Reason.RDTSCP else 0x77)


@pytest.mark.parametrize("reason", [Reason.RDTSC, Reason.RDTSCP])
def test_time_can_be_kept_from_programs(guest: Guest, reason: Reason) -> None:
    guest.virtual.cr4 |= CR4_TSD
    guest.vcpu.rcx = 0x77
    assert guest.answer(Exit(reason, cpl=3)) == GP_0
    assert guest.vcpu.rcx == 0x77
    assert guest.answer(Exit(reason, cpl=1)) is NEXT


def test_the_offset_wraps(guest: Guest) -> None:
    guest.vcpu.virtual.tsc_offset = (1 << 64) - 10
    guest.vcpu.now_ns = 12
    assert guest.answer(Exit(Reason.RDTSC)) is NEXT
    assert (guest.vcpu.rax, guest.vcpu.rdx) == (2, 0)
