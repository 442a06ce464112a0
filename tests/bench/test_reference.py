"""The reference rows do what they say: each loop exits once a turn and its answer reaches the guest."""

from __future__ import annotations

import pytest
from unicorn import x86_const as x86

from bench.reference import DATA, HFLAGS, REFERENCES, BindingGuest, Reference, clear_interrupts, cpuid, port_in, vmcall

TURNS = 50


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda row: row.twin)
def test_each_turn_exits_once(reference: Reference) -> None:
    guest = reference.make()
    guest.run(TURNS)
    assert guest.exits == TURNS * reference.exits
    assert guest.uc.reg_read(x86.UC_X86_REG_RBP) == 0


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda row: row.twin)
def test_a_guest_runs_again(reference: Reference) -> None:
    guest = reference.make()
    guest.run(TURNS)
    before = guest.exits
    guest.run(TURNS)
    assert guest.exits == 2 * before


def test_hypercall_answers_with_its_arguments() -> None:
    guest = vmcall()
    guest.run(1)
    assert guest.uc.reg_read(x86.UC_X86_REG_RAX) == 1 + 2 + 3 + 4 + 5 + 6


def test_port_in_gives_the_value() -> None:
    guest = port_in()
    guest.run(1)
    assert guest.uc.reg_read(x86.UC_X86_REG_AL) == 0x60


def test_cpuid_gives_four_registers() -> None:
    guest = cpuid()
    guest.run(1)
    read = [guest.uc.reg_read(register) for register in (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDX)]
    assert read == [0x663, 0x78BFBFD]


def test_privileged_instructions_run_at_cpl_1() -> None:
    guest = clear_interrupts()
    guest.run(TURNS)
    guest.uc.context_update(guest.context)
    assert guest.peek(HFLAGS) & 3 == 1


def test_a_guest_that_stores_reaches_its_data() -> None:
    guest = BindingGuest("mov qword ptr [rbx], rbp", setup=f"mov rbx, {DATA}")
    guest.run(7)
    assert int.from_bytes(guest.uc.mem_read(DATA, 8), "little") == 1
