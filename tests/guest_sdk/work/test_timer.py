"""The timer job's model: ticks 1 to n, each seen alone."""

from __future__ import annotations

from guest_sdk import Guest
from guest_sdk.work import add, timer
from tests.guest_sdk.workloads.checks import run

OWN = """
start_ticks:
ret
wait_tick:
lea eax, [rbx + 1]
ret
"""


def test_the_checksum_by_hand() -> None:
    assert timer.expected(3) == (1 * 31 + 2) * 31 + 3


def test_the_text_asks_for_each_and_mixes_what_it_is_told() -> None:
    guest = Guest("told", paravirt=True).asm("main:\nxor r12d, r12d\njmp work")
    add(guest, 5, OWN + timer.TEXT)
    assert run(guest.build(), "paravirt").console == f"result {timer.expected(5)}\n"
