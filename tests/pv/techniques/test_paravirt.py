from __future__ import annotations

from types import SimpleNamespace

import pytest

from pv.dispatch import DispatchTable, Row
from pv.emulate.architecture import GP_0
from pv.emulate.cpuid import HYPERVISOR_PRESENT
from pv.emulate.system_registers import SystemRegisters
from pv.exits import NEXT, Exit, Reason
from pv.techniques.paravirt import TECHNIQUE
from tests.pv.emulate.recording_vcpu import Guest


@pytest.fixture
def table(guest: Guest, native: SimpleNamespace) -> DispatchTable:
    guest.add(TECHNIQUE.rows(guest.vcpu, native, SystemRegisters()))
    return guest.table


@pytest.mark.parametrize(
    ("reason", "key", "name"),
    [
        (Reason.EXCEPTION_NMI, 14, "trap_table"),
        (Reason.EXCEPTION_NMI, 13, "trap_table"),
        (Reason.SOFTWARE_INTERRUPT, 0x80, "trap_table"),
        (Reason.SYSCALL, 0, "syscall_entry"),
    ],
)
def test_what_the_engine_answers_itself(
    table: DispatchTable, native: SimpleNamespace, reason: Reason, key: int, name: str
) -> None:
    row = table.find(reason, key)
    assert row is not None
    assert row.handler is getattr(native, name)


@pytest.mark.parametrize("reason", [Reason.INTERRUPT_FLAG, Reason.CR_ACCESS, Reason.HLT, Reason.IRET, Reason.INVLPG])
def test_no_instruction_is_emulated(table: DispatchTable, reason: Reason) -> None:
    assert table.find(reason, 0) is None


@pytest.mark.parametrize("code", ["fa", "f4", "0f22d8", "48cf", "0f0110"])
def test_the_decoder_leaves_privileged_instructions_to_the_guest(code: str) -> None:
    assert TECHNIQUE.decode(bytes.fromhex(code), 0) is None


def test_an_msr_is_a_fault_unless_a_personality_has_it(guest: Guest, table: DispatchTable) -> None:
    assert guest.answer(Exit(Reason.MSR_READ, 0x10)) == GP_0
    assert guest.answer(Exit(Reason.MSR_WRITE, 0x10)) == GP_0
    table.add(Row(Reason.MSR_WRITE, 0x10, 0x10, lambda _exit: NEXT, "personality"))
    assert guest.answer(Exit(Reason.MSR_WRITE, 0x10)) is NEXT


def test_the_guest_is_told_of_a_monitor(guest: Guest, table: DispatchTable) -> None:
    row = table.find(Reason.CPUID, 0x4000_0000)
    assert row is not None
    assert guest.answer(Exit(Reason.CPUID, 1)) is NEXT
    assert guest.vcpu.rcx & HYPERVISOR_PRESENT


def test_how_the_guest_starts() -> None:
    assert TECHNIQUE.takes_hypercalls
    assert TECHNIQUE.boot == "monitor tables"
