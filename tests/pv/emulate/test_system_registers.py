from __future__ import annotations

from pv.emulate.msrs import MSRS
from pv.emulate.system_registers import SystemRegisters


def test_each_vcpu_has_its_own_breakpoints() -> None:
    one, other = SystemRegisters(), SystemRegisters()
    one.breakpoints[0] = 1
    assert other.breakpoints == [0, 0, 0, 0]


def test_every_msr_kept_here_begins_with_a_value_that_may_be_written() -> None:
    system = SystemRegisters()
    for msr in MSRS:
        if msr.place == "system" and msr.name != "IA32_MTRRCAP":
            value = getattr(system, msr.field)
            assert msr.writable(value, value), msr.name
