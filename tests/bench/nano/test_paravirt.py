"""The paravirtual guests: handlers count, calls succeed, and what a page shares is read."""

from __future__ import annotations

import pytest

from bench.nano.paravirt import FORMS, build, call
from guest_sdk import abi
from pv.machine import Machine
from pv.outcome import Outcome

HANDLED = ("pgfault", "divzero")


def run(name: str, operations: int) -> Outcome:
    with Machine(memory="16MiB", technique="paravirt") as machine:
        machine.load(build(name, operations))
        return machine.run(timeout=20)


@pytest.mark.parametrize("name", FORMS)
def test_a_guest_ends_well_and_its_handler_counts(name: str) -> None:
    outcome = run(name, 7)
    assert outcome.console == f"result {7 if name in HANDLED else 0}\n", outcome.summary


@pytest.mark.parametrize(
    ("name", "made"), [("ptemod", "map"), ("invlpg", "map"), ("rdmsr", "msr_read"), ("wrmsr", "msr_write")]
)
def test_an_operation_makes_its_call(name: str, made: str) -> None:
    assert run(name, 9).calls[made] - run(name, 2).calls[made] == 7


def test_call_loads_the_number() -> None:
    assert call("map") == f"mov eax, {abi.BY_NAME['map'].number:#x}\n    vmcall"
