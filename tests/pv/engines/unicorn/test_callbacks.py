"""Errors of ours outside handlers: what interrupt and timer sources raise leaves run(), and the guest can go on."""

from __future__ import annotations

import threading

import pytest

from guest_sdk import Guest
from pv import Machine, StopWhy

WAITS = "main:\n sti\n hlt\n mov eax, 7\n ret"


def plain(text: str) -> bytes:
    return Guest("waits", paravirt=False).asm(text).build()


@pytest.mark.parametrize("error", [ValueError("of ours"), KeyboardInterrupt()])
def test_what_a_timer_raises_leaves_run(error: BaseException) -> None:
    def fire() -> None:
        raise error

    with Machine(technique="trap") as machine:
        machine.load(plain(WAITS))
        machine.clock.at(1_000_000, fire)
        with pytest.raises(type(error)) as caught:
            machine.run(timeout=10)
        assert caught.value is error
        assert [entry.name for entry in caught.traceback][-1] == "fire"


def test_what_an_interrupt_source_raises_leaves_run() -> None:
    def acknowledge() -> int:
        raise LookupError("no vector")

    with Machine(technique="trap") as machine:
        machine.load(plain(WAITS))
        machine.vcpu.set_interrupt_source(acknowledge)
        machine.clock.at(1_000_000, machine.vcpu.request_interrupt)
        with pytest.raises(LookupError, match="no vector"):
            machine.run(timeout=10)
        assert machine.run(timeout=10).status == 7  # the guest was woken, and goes on


def test_a_running_machine_is_not_closed_under_its_guest() -> None:
    with Machine(technique="trap") as machine:
        machine.load(plain("main:\n jmp main"))
        running = threading.Thread(target=machine.run, kwargs={"timeout": 30})
        running.start()
        while machine.vcpu.slices < 1:
            pass
        with pytest.raises(RuntimeError, match="running"):
            machine.close()
        machine.stop(3)
        running.join()
        assert machine.outcome is not None
        assert (machine.outcome.why, machine.outcome.status) == (StopWhy.STOPPED, 3)
