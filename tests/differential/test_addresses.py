"""The plain numbers of a MemoryInstruction are enough to say where its operands are, as its docstring has it.

Written here as a core in C would compute it: integers, registers, segment bases, and no call into the emulator.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pv.engines.base import GuestFault
from tests.differential.cases import GENOME_BYTES, PAGE, Case, make
from tests.differential.processors import PlainCpu, bus_of

MASK = (1 << 64) - 1
RCX, RSP, RSI, RDI, FS, GS = 1, 4, 6, 7, 4, 5


def operands(case: Case) -> set[int]:
    """The gva of each operand in memory, of a string's first element."""
    insn, registers = case.insn, case.registers
    base = {FS: case.fs_base, GS: case.gs_base}.get(insn.segment, 0)
    found = set()
    if insn.at_rsi:
        found.add((registers[RSI] & insn.address_mask) + base & MASK)
    if insn.at_rdi:
        found.add(registers[RDI] & insn.address_mask)
    if not insn.at_rsi and not insn.at_rdi:
        at = insn.displacement
        if insn.base >= 0:
            at += registers[insn.base]
        if insn.index >= 0:
            at += registers[insn.index] * insn.scale
        if insn.bit_string:
            bits = 8 * insn.operand_bytes
            offset = registers[insn.register] & (1 << bits) - 1
            offset -= (offset >> bits - 1) << bits
            at += offset // bits * insn.operand_bytes
        found.add((at & insn.address_mask) + base & MASK)
    if insn.stack_bytes:
        found.add(registers[RSP] + min(insn.stack_bytes, 0) & MASK)
    return found


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
    asked = {at for at in cpu.located if at % PAGE or at in operands(case)}  # without second pages of what crosses
    if faulted or (case.insn.repeated and not case.registers[RCX] & case.insn.address_mask):
        assert asked <= operands(case)
    else:
        assert asked == operands(case)
