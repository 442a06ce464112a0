"""Functions of an isolated guest: called between runs and in handlers; a crash meanwhile is a GuestCallError."""

from __future__ import annotations

import os
import signal

import pytest

from guest_sdk import Guest
from hypercalls import hypercall
from pv import Machine, StopWhy
from pv.exits import GuestCallError


def guest() -> bytes:
    made = Guest("functions", paravirt=True)
    made.asm("main:")
    made.call.abi_version()  # by the hypercall page, which a function returns to
    made.asm("mov edi, 20\nmov eax, 0x8001\nvmcall\nret")
    made.asm("twice: lea rax, [rdi + rdi]\nret")
    made.asm("again: jmp again")
    made.asm("asks: mov eax, 0x8002\nvmcall\nret")
    return made.build()


@hypercall(0x8001, "double")
def double(machine: Machine, value: int) -> int:
    return int(machine.call("twice", value)) + 2


@hypercall(0x8002, "die")
def die(machine: Machine) -> int:
    os.kill(machine.process_id, signal.SIGSEGV)  # type: ignore[attr-defined] # an isolated machine's
    return 0


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_a_function_is_called_between_runs_and_in_a_handler(isolation: str) -> None:
    with Machine(memory="2MiB", isolation=isolation, hypercalls=[double]) as machine:
        machine.load(guest())
        assert machine.run(max_exits=2).resumable
        assert machine.call("twice", -4) == -8
        assert machine.run(timeout=60).status == 42


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_what_cannot_be_called_is_said(isolation: str) -> None:
    with Machine(memory="2MiB", isolation=isolation) as machine:
        machine.load(guest())
        machine.run(max_exits=2)
        with pytest.raises(GuestCallError, match="no such symbol; did you mean twice"):
            machine.call("twicee")
        with pytest.raises(GuestCallError) as late:
            machine.call("again", timeout=0.05)
        assert "again()" in str(late.value)


def test_a_crash_meanwhile_is_a_call_error_and_then_an_outcome() -> None:
    with Machine(memory="2MiB", isolation="process", hypercalls=[die]) as machine:
        machine.load(guest())
        machine.run(max_exits=2)
        with pytest.raises(GuestCallError, match=r"asks.*ended by SIGSEGV") as crashed:
            machine.call("asks")
        assert crashed.value.why is StopWhy.ENGINE_ABORT
        outcome = machine.run(timeout=5)
        assert (outcome.why, outcome.detail) == (StopWhy.ENGINE_ABORT, "the worker process ended by SIGSEGV")
