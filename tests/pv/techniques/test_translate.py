from __future__ import annotations

from types import SimpleNamespace

import pytest

from pv.dispatch import DispatchTable
from pv.emulate.decode import FORMS, TRANSLATED_FORMS
from pv.emulate.mmio_decode import decode_translated
from pv.emulate.system_registers import SystemRegisters
from pv.exits import Reason
from pv.techniques import trap
from pv.techniques.translate import TECHNIQUE
from tests.pv.emulate.recording_vcpu import Guest


@pytest.fixture
def table(guest: Guest, native: SimpleNamespace) -> DispatchTable:
    guest.add(TECHNIQUE.rows(guest.vcpu, native, SystemRegisters()))
    return guest.table


def test_every_emulated_instruction_has_a_row(table: DispatchTable) -> None:
    """But of IN and OUT: their rows are the devices'."""
    for form in (*FORMS.values(), *TRANSLATED_FORMS.values()):
        if form.reason is not Reason.IO_INSTRUCTION:
            key = form.key if form.key >= 0 else 1
            assert table.find(form.reason, key) is not None, form


def test_it_has_every_row_of_trap(table: DispatchTable, native: SimpleNamespace) -> None:
    plain = Guest()
    for row in trap.TECHNIQUE.rows(plain.vcpu, native, SystemRegisters()):
        mine = table.find(row.reason, max(row.first, 0))
        assert mine is not None
        assert (mine.name, mine.owner) == (row.name, "translate")


def test_what_a_device_needs_is_decoded_too() -> None:
    insn = decode_translated(bytes.fromhex("8908"), 0x1000)
    assert insn is not None
    assert insn.reason == Reason.MMIO
    assert TECHNIQUE.decode is decode_translated
