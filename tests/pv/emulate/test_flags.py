from __future__ import annotations

from pv.exits import NEXT
from tests.pv.emulate.recording_vcpu import Guest


def test_cli_and_sti_change_the_virtual_flag_alone(guest: Guest) -> None:
    before = list(guest.vcpu.registers)
    assert guest.execute("fb") is NEXT
    assert guest.virtual.interrupt_flag is True
    assert guest.execute("fa") is NEXT
    assert guest.virtual.interrupt_flag is False
    assert guest.vcpu.registers == before
    assert guest.log == []
