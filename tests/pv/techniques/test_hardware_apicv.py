"""Technique hardware-apicv: of the workloads' exits those for the local APIC are gone, and no others."""

from __future__ import annotations

from importlib import import_module

import pytest

from bench.disks import workload_disks
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome
from pv.plugin import foreign_plugins
from tests.pv.snapshots import finish

OFF, ON = "hardware", "hardware-apicv"
OPERATIONS = 40
ICR, EOI = ("MMIO", "APIC ICR low write"), ("MMIO", "APIC EOI write")
SELF_IPI, MSR_EOI = ("MSR_WRITE", "X2APIC_SELF_IPI"), ("MSR_WRITE", "X2APIC_EOI")
WORKLOADS = (
    "address_space", "clock", "compute", "console", "cpuid_msr", "disk", "fault", "idle", "interrupt_flag", "map",
    "self_event", "self_event_x2apic", "syscall", "timer",
)  # fmt: skip
SAVED = {
    "self_event": {ICR: OPERATIONS, EOI: OPERATIONS},
    "self_event_x2apic": {SELF_IPI: OPERATIONS, MSR_EOI: OPERATIONS},
    "idle": {EOI: OPERATIONS},
}


def machine(technique: str) -> Machine:
    return Machine(technique=technique, disks=workload_disks(), disabled_plugins=foreign_plugins())


def run(name: str, technique: str) -> Outcome:
    with machine(technique) as made:
        made.load(import_module(f"unmodified_guests.{name}").build(OPERATIONS))
        outcome = made.run(timeout=30)
        assert outcome.why is StopWhy.EXITED, outcome.summary
        return outcome


@pytest.mark.parametrize("name", WORKLOADS)
def test_only_the_apics_exits_are_saved(name: str) -> None:
    off, on = run(name, OFF), run(name, ON)
    if name not in ("clock", "idle"):  # which print what they measured
        assert on.console == off.console
    saved = {key: count - on.by_key.get(key, 0) for key, count in off.by_key.items() if "APIC" in key[1]}
    assert {key: count for key, count in saved.items() if count} == SAVED.get(name, {})
    assert on.events["APIC accesses virtualized"] == sum(SAVED.get(name, {}).values())
    assert on.events["interrupts delivered"] == off.events["interrupts delivered"]


@pytest.mark.parametrize("exits", [80, 101, 122])
def test_a_run_that_was_saved_goes_on_as_it_did(exits: int) -> None:
    with machine(ON) as made:
        made.load(import_module("unmodified_guests.idle").build(OPERATIONS))
        assert made.run(max_exits=exits).why is StopWhy.MAX_EXITS
        saved = made.snapshot()
        with made.fork() as child:
            forked = finish(child)
        first = finish(made)
        made.restore(saved)
        assert finish(made) == first == forked
