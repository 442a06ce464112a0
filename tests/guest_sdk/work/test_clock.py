"""The clock job counts the reads that were not before the last: seen with a clock that goes back."""

from __future__ import annotations

from guest_sdk import Guest
from guest_sdk.work import add, clock
from tests.guest_sdk.workloads.checks import run

# 3, 2, 1, 0, 3, 2, ...
BACKWARD = """
read_clock:
    mov eax, ebx
    not eax
    and eax, 3
    ret
"""


def test_a_clock_that_goes_back_is_seen() -> None:
    guest = Guest("backward", paravirt=True).asm("main:\njmp work")
    add(guest, 40, BACKWARD + clock.TEXT)
    assert run(guest.build(), "paravirt").console == "result 10\n"


def test_every_read_of_a_good_clock_counts() -> None:
    assert clock.expected(40) == 40
