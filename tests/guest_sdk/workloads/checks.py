"""Runs a workload's form and holds its result and its exits to what they must be, exactly."""

from __future__ import annotations

from typing import Any

import pytest

from bench.disks import workload_disks
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome
from pv.techniques import TECHNIQUES

TIMEOUT_S = 100
COUNTS = (1, 2, 17, 200)
REPEATS = 10
REPEATED_OPERATIONS = 2000
SLICES_NS = (5_000_000, 20_000)  # a run that is never interrupted, and one that is at all times
BAD_OPERATIONS = (0, -1, 10**12, 1.5, True, "7")
CONSOLE = "IO_INSTRUCTION"
UNMODIFIED = tuple(name for name, technique in TECHNIQUES.items() if technique.boot == "guest tables")
# Of what an unmodified guest prints: the status read, the byte written.
CONSOLE_EXITS_A_BYTE = {"paravirt": 0, **dict.fromkeys(UNMODIFIED, 2)}
# What still exits where the guest has a CPL 0, page tables and an IDT of its own: its devices, CPUID, and its sleep.
GUEST_MODE_EXITS = ("IO_INSTRUCTION", "MMIO", "HLT", "CPUID")

Costs = dict[str, int]


def run(image: bytes, technique: str, slice_ns: int = SLICES_NS[0]) -> Outcome:
    """The outcome of a guest that ended well."""
    with Machine(memory="16MiB", technique=technique, disks=workload_disks()) as machine:
        machine.vcpu.set_slice(slice_ns)
        machine.load(image)
        outcome = machine.run(timeout=TIMEOUT_S)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    return outcome


def costs(outcome: Outcome, technique: str) -> Costs:
    """Exits by reason without those that the printing took: a result has as many bytes as it has digits."""
    counted = dict(outcome.exits)
    printing = len(outcome.console) * CONSOLE_EXITS_A_BYTE[technique]
    if printing:
        counted[CONSOLE] -= printing
    return counted


def check_result(form: Any, work: Any, technique: str, operations: int) -> Outcome:
    """The form prints what its work's model says, and nothing but its lines before it."""
    outcome = run(form.build(operations), technique)
    lines = work.lines(operations).decode() if hasattr(work, "lines") else ""
    assert outcome.console == f"{lines}result {work.expected(operations)}\n"
    return outcome


def costs_under(technique: str, of_trap: Costs) -> Costs:
    """What is left of exits that a guest takes under trap."""
    if technique in ("paravirt", "trap"):
        return of_trap
    if technique == "translate":
        return {
            reason: count for reason, count in of_trap.items() if reason != "INTERRUPT_FLAG"
        }  # CLI and STI take none
    return {reason: count for reason, count in of_trap.items() if reason in GUEST_MODE_EXITS}


def check_costs(
    form: Any, technique: str, operations: int, first: Costs, more: Costs, *, of_apic: tuple[int, int] = (0, 0)
) -> None:
    """The exits of `operations` are those of one, which has `first` at least, and `more` on top.

    Of an unmodified form both are those under trap; in guest mode GUEST_MODE_EXITS are left of them.
    of_apic: how many of either are accesses to the APIC that need no exit where the processor virtualizes it.
    """
    first, more = costs_under(technique, first), costs_under(technique, more)
    if technique == "hardware-apicv" and any(of_apic):
        first, more = ({**of, "MMIO": of["MMIO"] - saved} for of, saved in zip((first, more), of_apic, strict=True))
    one = costs(run(form.build(1), technique), technique)
    many = costs(run(form.build(operations), technique), technique)
    assert {reason: one.get(reason, 0) for reason in first} == first
    assert many == {reason: one.get(reason, 0) + more.get(reason, 0) for reason in one | more}


def check_repeats(form: Any, technique: str, operations: int = REPEATED_OPERATIONS) -> None:
    """Every run of one guest has the same exits, key by key, and prints the same, wherever it is interrupted."""
    image = form.build(operations)
    outcomes = [run(image, technique, SLICES_NS[repeat % 2]) for repeat in range(REPEATS)]
    assert all(outcome.by_key == outcomes[0].by_key for outcome in outcomes)
    assert all(outcome.console == outcomes[0].console for outcome in outcomes)


def check_form(form: Any, work: Any) -> None:
    """What the harness asks of a form, and what build() refuses."""
    assert (form.NAME, form.OPERATION, form.DEFAULT_OPERATIONS) == (
        work.NAME,
        work.OPERATION,
        work.DEFAULT_OPERATIONS,
    )
    for operations in BAD_OPERATIONS:
        with pytest.raises(ValueError, match="is not a whole number from 1 to"):
            form.build(operations)
