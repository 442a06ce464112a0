"""Registers of every width, and numbers with a sign."""

from __future__ import annotations

from typing import Any

import pytest

from pv.emulate.decode import NO_REGISTER
from pv.emulate.mmio_decode import MemoryInstruction, decode_memory
from pv.emulate.operations_common import read_other, read_register, signed, write_other, write_register
from pv.memory import GuestMemory
from tests.pv.emulate.recording_vcpu import RecordingVcpu
from tests.pv.engines.unicorn.guests import assemble

FULL = 0x1122334455667788


@pytest.fixture
def vcpu() -> Any:
    made = RecordingVcpu(GuestMemory(1 << 20))
    made.registers = [FULL] * 16
    return made


@pytest.mark.parametrize(("size", "after"), [(1, 0x11223344556677FF), (2, 0x11223344556600FF), (4, 0xFF), (8, 0xFF)])
def test_a_write_keeps_what_its_width_says(vcpu: Any, size: int, after: int) -> None:
    write_register(vcpu, 9, size, 0xFF)
    assert vcpu.get(9) == after
    assert read_register(vcpu, 9, size) == 0xFF


def insn(text: str) -> MemoryInstruction:
    decoded = decode_memory(assemble(text), 0x100000)
    assert decoded is not None
    return decoded


def test_the_other_operand(vcpu: Any) -> None:
    assert read_other(vcpu, insn("mov [rbx], ch")) == 0x77
    assert read_other(vcpu, insn("mov [rbx], cl")) == 0x88
    assert read_other(vcpu, insn("mov [rbx], r9d")) == 0x55667788
    immediate = insn("mov word ptr [rbx], 0xfffe")
    assert (immediate.register, read_other(vcpu, immediate)) == (NO_REGISTER, 0xFFFE)
    write_other(vcpu, insn("mov ch, [rbx]"), 0xAB)
    write_other(vcpu, insn("movzx edx, byte ptr [rbx]"), 0xAB)
    assert (vcpu.get(1), vcpu.get(2)) == (0x112233445566AB88, 0xAB)


@pytest.mark.parametrize(("value", "size", "number"), [(0x80, 1, -128), (0x7F, 1, 127), (0xFFFF, 2, -1), (5, 8, 5)])
def test_signs(value: int, size: int, number: int) -> None:
    assert signed(value, size) == number
