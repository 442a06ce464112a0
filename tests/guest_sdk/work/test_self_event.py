"""The self-event job's model: events are taken one by one."""

from __future__ import annotations

from guest_sdk import Guest
from guest_sdk.work import add, self_event
from tests.guest_sdk.workloads.checks import run

OWN = """
start_events:
ret
send_event:
inc dword ptr [events_taken]
ret
"""


def test_the_checksum_by_hand() -> None:
    assert self_event.expected(3) == (1 * 31 + 2) * 31 + 3


def test_the_text_asks_for_each_and_mixes_what_it_is_told() -> None:
    guest = Guest("told", paravirt=True).asm("main:\nxor r12d, r12d\njmp work")
    self_event.add_data(guest)
    add(guest, 5, OWN + self_event.TEXT)
    assert run(guest.build(), "paravirt").console == f"result {self_event.expected(5)}\n"
