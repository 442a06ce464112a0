"""Technique hardware: exact exits of the guests that everybody has, and what a single control adds."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from bench.disks import workload_disks
from guest_sdk import Guest
from pv.dispatch import DispatchTable
from pv.emulate.system_registers import SystemRegisters
from pv.exits import Reason, StopWhy
from pv.machine import Machine
from pv.outcome import Outcome
from pv.plugin import foreign_plugins
from pv.techniques.controls import CONTROLS, INSTRUCTION_FIRST
from pv.techniques.hardware import TECHNIQUE
from tests.pv.emulate.recording_vcpu import Guest as RecordingGuest

OPERATIONS = 40


def run(name: str, technique: str = "hardware", operations: int = OPERATIONS, **options: Any) -> Outcome:
    with Machine(
        technique=technique, disks=workload_disks(), disabled_plugins=foreign_plugins(), options=options
    ) as machine:
        machine.load(import_module(f"unmodified_guests.{name}").build(operations))
        outcome = machine.run(timeout=30)
        assert outcome.why is StopWhy.EXITED, outcome.summary
        return outcome


def more(name: str, intercept: str) -> dict[str, int]:
    """How many exits more there are by reason, with a control turned on."""
    plain, counted = run(name).exits, run(name, intercept=intercept).exits
    return {reason: count - plain.get(reason, 0) for reason, count in counted.items() if count != plain.get(reason, 0)}


@pytest.fixture
def table(guest: RecordingGuest) -> DispatchTable:
    guest.add(TECHNIQUE.rows(guest.vcpu, SimpleNamespace(reflect=lambda: None), SystemRegisters()))
    return guest.table


REASONS = {
    "gdtr-idtr": Reason.GDTR_IDTR, "ldtr-tr": Reason.LDTR_TR, "rdtsc": Reason.RDTSC, "rdpmc": Reason.RDPMC,
    "cpuid": Reason.CPUID, "invd": Reason.INVD, "pause": Reason.PAUSE, "hlt": Reason.HLT, "invlpg": Reason.INVLPG,
    "wbinvd": Reason.WBINVD,
}  # fmt: skip
FIELDS = {
    "cr_reads": Reason.CR_ACCESS, "cr_writes": Reason.CR_ACCESS, "dr_reads": Reason.DR_ACCESS,
    "dr_writes": Reason.DR_ACCESS, "exceptions": Reason.EXCEPTION_NMI,
}  # fmt: skip


def test_every_control_has_an_answer(table: DispatchTable) -> None:
    for control in CONTROLS:
        if control.name == "vmcall":
            continue  # its numbers are a plugin's; what nobody takes is -ENOSYS
        reason = FIELDS[control.field] if control.field in FIELDS else REASONS[control.name]
        for number in range(32):
            write = control.field.endswith("writes")
            if reason in (Reason.CR_ACCESS, Reason.DR_ACCESS) and control.bits >> number & 1:
                if number < (16 if reason is Reason.CR_ACCESS else 8) and number != 8:  # CR8 is the local APIC's
                    assert table.find(reason, number * 2 + write) is not None, (control.name, number)
            elif reason not in (Reason.CR_ACCESS, Reason.DR_ACCESS):
                assert table.find(reason, 0) is not None, control.name
    assert all(control.bits < 1 << 0x8F - INSTRUCTION_FIRST for control in CONTROLS)


@pytest.mark.parametrize("name", ["fault", "interrupt_flag", "syscall", "map", "address_space", "compute"])
def test_what_a_guest_does_with_its_own_costs_no_exit(name: str) -> None:
    few, many = run(name, operations=1000), run(name, operations=3000)
    printed = Reason.IO_INSTRUCTION.name  # the result has another number of digits
    assert {**few.exits, printed: 0} == {**many.exits, printed: 0}
    assert set(few.exits) <= {"CR_ACCESS", "IO_INSTRUCTION", "MSR_READ", "MSR_WRITE"}


@pytest.mark.parametrize(
    ("name", "intercept", "expected"),
    [
        ("fault", "pf", {"EXCEPTION_NMI": OPERATIONS}),
        ("fault", "ud", {}),
        ("map", "invlpg", {"INVLPG": OPERATIONS}),
        ("syscall", "exceptions", {}),
    ],
)
def test_a_control_that_is_turned_on_is_counted(name: str, intercept: str, expected: dict[str, int]) -> None:
    assert more(name, intercept) == expected


def test_with_every_control_register_it_is_the_count_of_trap() -> None:
    assert run("address_space").exits["CR_ACCESS"] < 3
    every = run("address_space", intercept="cr0,cr2,cr3,cr4").exits["CR_ACCESS"]
    assert every == run("address_space", "trap").exits["CR_ACCESS"] > OPERATIONS


def test_what_a_control_block_does_not_name_the_processor_counts_by_itself() -> None:
    assert run("syscall").events["system calls entered"] == OPERATIONS + 1
    assert run("fault").events["events delivered"] == OPERATIONS


def test_interrupts_wait_for_their_window() -> None:
    exits = run("timer").exits
    assert exits["HLT"] <= OPERATIONS
    assert "INTERRUPT_FLAG" not in exits


def test_the_same_counts_in_every_run() -> None:
    for name in ("timer", "self_event", "disk"):
        assert run(name).exits == run(name).exits


def test_a_control_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="'rtdsc' is no control; 'rdtsc' is"):
        Machine(technique="hardware", options={"intercept": "rtdsc"})
    with pytest.raises(ValueError, match="technique 'paravirt' has no control block"):
        Machine(technique="paravirt", options={"intercept": "cr3"})


def test_a_machine_is_saved_and_forked_with_its_processors_own_registers() -> None:
    image = import_module("unmodified_guests.fault").build(2000)
    with Machine(technique="hardware", disabled_plugins=foreign_plugins()) as machine:
        machine.load(image)
        machine.run(max_exits=6)
        saved = machine.snapshot()
        with machine.fork() as child:
            forked = child.run(timeout=30)
        first = machine.run(timeout=30)
        machine.restore(saved)
        assert machine.vcpu.exits == 6
        again = machine.run(timeout=30)
    assert first.why is again.why is forked.why is StopWhy.EXITED
    assert first.console == again.console == forked.console
    assert first.exits == again.exits == forked.exits
    assert first.events == again.events


WAITS_BY_THE_COUNTER = """
    mov edx, 0x43
    mov al, 0x34
    out dx, al
    mov edx, 0x40
    mov al, 0xff
    out dx, al
    out dx, al
    rdtsc
    mov ebx, eax
wait:
    rdtsc
    inc rbp
    sub eax, ebx
    cmp eax, 2000000
    jb wait
    mov eax, ebp
    mov edx, 0xf4
    out dx, al
"""


def test_a_guest_that_waits_by_the_counter_sees_the_same_time_in_every_run() -> None:
    """A timer runs, and no exit comes for 2 ms of virtual time: reading the counter is what moves it."""
    guest = Guest("waits", paravirt=False)
    guest.asm(f"_start:\n{WAITS_BY_THE_COUNTER}")
    seen = set()
    for _ in range(3):
        with Machine(technique="hardware", disabled_plugins=foreign_plugins()) as machine:
            machine.load(guest.build())
            machine.vcpu.set_slice(1000)
            outcome = machine.run(timeout=30)
            seen.add((machine.vcpu.rbp, machine.vcpu.now_ns, outcome.exits.total))
    assert seen == {(10_000, 2_004_200, 4)}
