"""A guest that gives up: the run ends with its message, on the real engine."""

from __future__ import annotations

import pytest

from guest_sdk import Guest
from pv.exits import Reason, StopWhy
from pv.machine import Machine


def test_a_panic_ends_the_run_with_the_guests_message() -> None:
    guest = Guest("panics", paravirt=True).string("why", "main.c:12: x > 0")
    guest.asm("main:")
    guest.call.panic("why", "why_bytes")
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=20)
        with pytest.raises(RuntimeError, match="the guest has ended: guest panicked"):
            machine.run()
    assert (outcome.why, outcome.status, outcome.detail) == (StopWhy.PANICKED, None, "main.c:12: x > 0")
    assert outcome.summary == "guest panicked: main.c:12: x > 0"
    assert outcome.record[-1].reason == Reason.VMCALL
    assert not outcome.ok


@pytest.mark.parametrize(("gpa", "size_bytes", "letters"), [(0x200000, 1 << 63, 4096), (-1, 1, None), ("why", 0, 0)])
def test_hostile_panics_end_the_run_as_well(gpa: str | int, size_bytes: int, letters: int | None) -> None:
    guest = Guest("panics", paravirt=True).string("why", "-")
    guest.asm("main:")
    guest.call.panic(gpa, size_bytes)
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=20)
    assert outcome.why is StopWhy.PANICKED
    if letters is None:
        assert outcome.detail == "(its message at 0xffffffffffffffff is outside guest memory)"
    else:
        assert len(outcome.detail) == letters
