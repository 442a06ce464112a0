"""The reference rows do what they say: each loop exits once a turn and its answer reaches the guest."""

from __future__ import annotations

import pytest
from unicorn import x86_const as x86

from bench.binding import DATA, BindingGuest
from bench.reference import (
    BATCH,
    REFERENCES,
    Reference,
    cpuid,
    multicall,
    page_fault,
    port_in,
    read_msr,
    vmcall,
    vmcall_with_buffer,
)

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


def test_a_buffer_is_copied_whole() -> None:
    guest = vmcall_with_buffer()
    guest.run(1)
    assert guest.uc.reg_read(x86.UC_X86_REG_RAX) == 64


def test_every_entry_of_a_batch_has_its_result() -> None:
    guest = multicall()
    guest.run(1)
    results = [int.from_bytes(guest.uc.mem_read(DATA + at * 64 + 56, 8), "little") for at in range(BATCH)]
    assert results == [1 + 2 + 3 + 4 + 5 + 6] * BATCH


def test_rdmsr_gives_two_registers() -> None:
    guest = read_msr()
    guest.run(1)
    assert [guest.uc.reg_read(register) for register in (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDX)] == [0xD01, 0]


def test_a_page_fault_is_where_nothing_is_mapped() -> None:
    guest: BindingGuest = page_fault()
    guest.run(1)
    assert guest.uc.reg_read(x86.UC_X86_REG_CR2) == 0x4000_0000
