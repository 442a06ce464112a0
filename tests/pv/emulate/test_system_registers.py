from __future__ import annotations

from dataclasses import fields

import pytest

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


def test_what_is_saved_comes_back_and_nothing_else_does() -> None:
    system, other = SystemRegisters(), SystemRegisters()
    for number, field in enumerate(fields(SystemRegisters)):
        setattr(system, field.name, [number] * 4 if field.name == "breakpoints" else number)
    saved = system.save()
    other.restore(saved)
    assert other == system
    system.breakpoints[0] = 99
    assert other.breakpoints[0] == saved["breakpoints"][0] == 0
    for name in saved:
        for wrong in (None, -1, 1 << 64, "text", [1]):
            with pytest.raises(ValueError, match="register"):
                other.restore({**saved, name: wrong})
