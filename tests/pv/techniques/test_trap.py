from __future__ import annotations

from types import SimpleNamespace

import pytest

from pv.dispatch import DispatchTable
from pv.emulate.architecture import GP_0
from pv.emulate.cpuid import HYPERVISOR_PRESENT
from pv.emulate.decode import FORMS
from pv.emulate.system_registers import SystemRegisters
from pv.exits import NEXT, Exit, Reason
from pv.techniques.trap import TECHNIQUE
from tests.pv.emulate.recording_vcpu import Guest


@pytest.fixture
def table(guest: Guest, native: SimpleNamespace) -> DispatchTable:
    guest.add(TECHNIQUE.rows(guest.vcpu, native, SystemRegisters()))
    return guest.table


@pytest.mark.parametrize(
    ("reason", "key", "name"),
    [
        (Reason.EXCEPTION_NMI, 14, "shadow_fault"),
        (Reason.EXCEPTION_NMI, 13, "reflect"),
        (Reason.EXCEPTION_NMI, 0, "reflect"),
        (Reason.SOFTWARE_INTERRUPT, 0x80, "reflect"),
        (Reason.SYSCALL, 0, "syscall"),
    ],
)
def test_what_the_engine_answers_itself(
    table: DispatchTable, native: SimpleNamespace, reason: Reason, key: int, name: str
) -> None:
    row = table.find(reason, key)
    assert row is not None
    assert row.handler is getattr(native, name)


def test_every_emulated_instruction_has_a_row(table: DispatchTable) -> None:
    for form in FORMS.values():
        key = form.key if form.key >= 0 else 0
        assert table.find(form.reason, key) is not None, form


def test_the_guest_is_not_told_of_a_monitor(guest: Guest, table: DispatchTable) -> None:
    assert len(list(table)) > 50
    assert guest.answer(Exit(Reason.CPUID, 1)) is NEXT
    assert not guest.vcpu.rcx & HYPERVISOR_PRESENT


def test_time_stamp_registers_are_one_set(guest: Guest, table: DispatchTable) -> None:
    assert table.find(Reason.RDTSCP, 0) is not None
    guest.vcpu.rcx, guest.vcpu.rax = 0xC000_0103, 0x42
    assert guest.execute("0f30") is NEXT
    assert guest.answer(Exit(Reason.RDTSCP)) is NEXT
    assert guest.vcpu.rcx == 0x42


def test_an_unknown_msr_is_a_fault(guest: Guest, table: DispatchTable) -> None:
    assert table.find(Reason.MSR_READ, 0x1234) is not None
    guest.vcpu.rcx = 0x1234
    assert guest.execute("0f32") == GP_0


def test_how_the_guest_starts() -> None:
    assert not TECHNIQUE.takes_hypercalls
    assert TECHNIQUE.boot == "guest tables"
