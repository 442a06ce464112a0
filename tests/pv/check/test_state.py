"""A guest's registers are its own, whatever ring it was given, and the same under every technique."""

from __future__ import annotations

import pytest

from pv.check.state import REGISTERS, chips
from pv.machine import Machine
from tests.pv.check.guests import EXIT, HARDWARE, observed


@pytest.mark.parametrize("technique", HARDWARE)
def test_the_kernel_is_at_its_own_ring(technique: str) -> None:
    seen = observed(f"mov eax, 0x10; mov ds, eax; mov rbx, 0x1234; mov cr2, rbx; mov dr1, rbx; cli; {EXIT}", technique)
    registers = seen.registers
    assert (registers["cpl"], registers["cs"], registers["ss"], registers["ds"]) == (0, 8, 0x10, 0x10)
    assert (registers["rbx"], registers["cr2"], registers["dr1"]) == (0x1234, 0x1234, 0x1234)
    assert not registers["rflags"] >> 9 & 1
    assert registers.keys() == REGISTERS.keys()


def test_techniques_agree_on_all_of_them() -> None:
    ours, theirs = (observed(f"xor eax, eax; sti; nop; {EXIT}", technique).registers for technique in HARDWARE)
    assert ours == theirs


def test_a_machine_without_a_board_has_no_chips() -> None:
    with Machine(memory="2MiB", technique="paravirt") as machine:
        assert chips(machine.pc) == {}
