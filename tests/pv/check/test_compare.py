"""The first difference, of each kind; what is timing and what is ignored makes none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pv.check import Ignored, compare
from pv.check.timing import Area
from tests.pv.check.guests import APIC, EXIT, HARDWARE, WRITES, observed, with_memory

A = observed(WRITES)
PIT = "mov al, 0x34; out 0x43, al; mov al, {low:#x}; out 0x40, al; mov al, 0x10; out 0x40, al"
SPIN = "mov ecx, {times}; again: in al, 0x80; dec ecx; jnz again"


def test_two_runs_of_one_guest_are_equal() -> None:
    assert compare(A, observed(WRITES)) is None


@pytest.mark.parametrize("text", [WRITES, APIC, f"mov rax, cr3; mov cr3, rax; sgdt [0x5000]; {EXIT}"])
def test_techniques(text: str) -> None:
    found = compare(*(observed(text, technique) for technique in HARDWARE))
    if "sgdt" not in text:
        assert found is None
    else:  # the hole that no trap can close
        assert found is not None
        assert (found.what, found.gpa, found.left, found.right) == ("memory", 0x5000, "0x00", "0x17")


def test_traffic_names_the_access_and_both_instructions() -> None:
    other = observed(WRITES.replace("0x42", "0x43"))
    found = compare(A, other)
    assert found is not None
    assert (found.what, found.where) == ("device traffic", "access 2")
    assert found.left == "write of 0x42, 1 byte, port 0x3f8 (COM1)"
    assert found.right == "write of 0x43, 1 byte, port 0x3f8 (COM1)"
    assert found.rips[0] == found.rips[1] == A.accesses[1].rip


def test_an_access_that_is_missing() -> None:
    found = compare(A, replace(A, accesses=A.accesses[:2]))
    assert found is not None
    assert (found.where, found.right, found.rips[1]) == ("access 3", "no access", None)


def test_endings_consoles_registers_and_chips() -> None:
    ended = compare(A, replace(A, outcome=replace(A.outcome, status=3)))
    assert ended is not None
    assert (ended.what, ended.left) == ("how it ended", "exited with status 0")
    console = compare(A, replace(A, outcome=replace(A.outcome, console="AC")))
    assert console is not None
    assert (console.what, console.where, console.left) == ("console", "character 2", "'B'")
    register = compare(A, replace(A, registers={**A.registers, "cr4": 5}))
    assert register is not None
    assert (register.what, register.where, register.right) == ("registers", "cr4", "0x5")
    chip = compare(A, replace(A, chips={**A.chips, "com1": {**A.chips["com1"], "scr": 9}}))
    assert chip is not None
    assert (chip.what, chip.where, chip.right) == ("chips", "com1.scr", "9")
    part = compare(A, replace(A, chips={name: state for name, state in A.chips.items() if name != "com1"}))
    assert part is not None
    assert part.right == "none"


def test_memory_and_what_is_ignored() -> None:
    other = with_memory(A, 0x5001, b"xy")
    found = compare(A, other)
    assert found is not None
    assert (found.where, found.left, found.right, found.notes) == ("gpa 0x5001", "0x00", "0x78", ("2 bytes differ",))
    assert compare(A, other, Ignored(areas=(Area(0x5000, 8),))) is None
    assert compare(A, replace(A, registers={**A.registers, "rbx": 8}), Ignored(registers=frozenset({"rbx"}))) is None
    silent = replace(A, accesses=A.accesses[2:])
    assert compare(A, silent, Ignored(devices=frozenset({"COM1"}))) is None


def test_what_is_read_of_a_timing_device_is_not_compared() -> None:
    left = observed(f"in al, 0x40; mov al, 0x34; out 0x43, al; mov al, 9; out 0x40, al; xor eax, eax; {EXIT}")
    read, control, count, end = left.accesses
    assert compare(left, replace(left, accesses=(read._replace(value=7), control, count, end))) is None
    assert compare(left, replace(left, accesses=(control, count, end))) is None
    assert compare(left, replace(left, accesses=(read, control, count._replace(value=8), end))) is None
    found = compare(left, replace(left, accesses=(read, control._replace(value=0x36), count, end)))
    assert found is not None
    assert found.right == "write of 0x36, 1 byte, port 0x43 (8254)"
    assert compare(left, replace(left, accesses=(read, control, end))) is not None


def test_after_a_tick_the_order_of_timing_devices_is_not_compared() -> None:
    start = PIT.format(low=1)
    left = observed(f"{start}; {SPIN.format(times=6000)}; mov al, 0x20; out 0x20, al; {EXIT}")
    assert left.first_tick is not None
    kept = tuple(access for access in left.accesses if access.device != "master 8259")
    assert compare(left, replace(left, accesses=kept)) is None
    before = replace(left, accesses=left.accesses[1:])
    assert compare(left, before) is not None


def test_what_a_technique_leaves_to_the_processor_is_not_held_against_it() -> None:
    apic = observed(APIC)
    virtual = replace(apic, technique="hardware-apicv", accesses=apic.accesses[-1:])
    assert compare(apic, virtual) is None
    assert compare(apic, replace(virtual, technique="hardware")) is not None
