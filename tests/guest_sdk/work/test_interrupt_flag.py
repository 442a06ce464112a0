"""The interrupt-flag job: the counter's values in their order, and the guest's lines in their places."""

from __future__ import annotations

from guest_sdk import Guest
from guest_sdk.work import add, interrupt_flag
from tests.guest_sdk.workloads.checks import run


def test_the_checksum_by_hand() -> None:
    assert interrupt_flag.expected(3) == (1 * 31 + 2) * 31 + 3


def test_off_comes_before_the_count_and_on_after_it() -> None:
    guest = Guest("order", paravirt=True).asm("main:\nxor r12d, r12d\njmp work")
    interrupt_flag.add_data(guest)
    # r12 gathers the counter as it is at each: 0 1 1 2 2 3
    off, on = "imul r12d, r12d, 10\nadd r12d, [counter]", "imul r12d, r12d, 10\nadd r12d, [counter]\nmov ebp, r12d"
    add(guest, 3, interrupt_flag.text(off, on))
    assert run(guest.build(), "paravirt").console == "result 11223\n"
