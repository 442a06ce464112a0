"""The operands that decoding names are all that an instruction asks for, and where the core in C computes them to be.

Written here as native/device.c has it: plain integers, registers, segment bases, and no call into the emulator.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pv.emulate.mmio_decode import Operand
from pv.engines.base import GuestFault
from tests.differential.cases import GENOME_BYTES, PAGE, Case, make
from tests.differential.processors import PlainCpu, bus_of

MASK = (1 << 64) - 1
RCX, FS, GS = 1, 4, 5


def linear(case: Case, operand: Operand) -> int:
    registers, at = case.registers, operand.displacement
    if operand.base >= 0:
        at += registers[operand.base]
    if operand.index >= 0:
        at += registers[operand.index] * operand.scale
    if operand.bits >= 0:
        bits = 8 * operand.size
        offset = registers[operand.bits] & (1 << bits) - 1
        offset -= (offset >> bits - 1) << bits
        at += (offset >> (bits - 1).bit_length()) * operand.size
    base = {FS: case.fs_base, GS: case.gs_base}.get(operand.segment, 0)
    return (at & operand.mask) + base & MASK


def operands(case: Case) -> dict[int, bool]:
    """gva: whether it is written."""
    return {linear(case, operand): operand.write for operand in case.insn.operands()}


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.binary(min_size=GENOME_BYTES, max_size=GENOME_BYTES))
def test_operands(genome: bytes) -> None:
    case = make(genome)
    if case is None:
        return
    cpu: Any = PlainCpu(case)
    faulted = False
    try:
        case.insn.operation(bus_of(cpu), case.insn)
    except GuestFault:
        faulted = True
    named = operands(case)
    asked = {at: write for at, write in cpu.located.items() if at % PAGE or at in named}  # no second page of a crossing
    if faulted or (case.insn.repeated and not case.registers[RCX] & case.insn.address_mask):
        assert asked.items() <= named.items()
    else:
        assert asked == named
