"""The idle job's model: the timer fired once more after each sleep."""

from __future__ import annotations

from guest_sdk import Guest
from guest_sdk.work import add, idle
from tests.guest_sdk.workloads.checks import run

OWN = """
start_idling:
ret
sleep:
inc r12d
mov eax, r12d
ret
"""


def test_the_checksum_by_hand() -> None:
    assert idle.expected(3) == (1 * 31 + 2) * 31 + 3


def test_the_text_asks_for_each_and_mixes_what_it_is_told() -> None:
    guest = Guest("told", paravirt=True).asm("main:\nxor r12d, r12d\njmp work")
    add(guest, 5, OWN + idle.TEXT)
    assert run(guest.build(), "paravirt").console == f"result {idle.expected(5)}\n"
