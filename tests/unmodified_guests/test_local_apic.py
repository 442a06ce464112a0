"""The local APIC is ready: its page leads to it, it is enabled, and its timer's rate is what the 8254 says."""

from __future__ import annotations

import pytest

from tests.guest_sdk.workloads.checks import run
from unmodified_guests.local_apic import APIC, MEASURE, SPURIOUS, SPURIOUS_VECTOR, START, clocks, map_page
from unmodified_guests.machine import begin, finish


def result(job: str) -> int:
    """What the guest printed as its result."""
    guest = begin("apic", 1)
    map_page(guest)
    text = f"{START}{MEASURE}\nwork:\n{job}\njmp print_result"
    return int(run(finish(guest, 1, text, {SPURIOUS_VECTOR: "spurious"}), "trap").console.removeprefix("result "))


def test_it_is_enabled() -> None:
    assert result(f"call start_apic\nmov eax, [rdx + {SPURIOUS:#x}]") == 0x100 | SPURIOUS_VECTOR


def test_its_page_is_the_apics() -> None:
    assert result(f"mov edx, {APIC:#x}\nmovzx eax, byte ptr [rdx + 0x30]") == 0x14  # the version of an integrated one


@pytest.mark.parametrize("microseconds", [100, 500, 100_000])
def test_a_time_is_as_long_by_both_timers(microseconds: int) -> None:
    ticks = result(f"call start_apic\nmov edi, {clocks(1000 * microseconds)}\ncall measure_apic\nmov eax, eax")
    assert ticks == pytest.approx(1000 * microseconds, rel=0.06)  # a nanosecond a tick; a look takes some


def test_clocks_of_the_8254() -> None:
    assert clocks(1_000_000_000) == 1_193_182
