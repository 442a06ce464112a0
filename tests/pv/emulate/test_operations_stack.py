"""PUSH, POP, CALL and JMP with their operand in a device and the stack in memory."""

from __future__ import annotations

import pytest

from tests.differential.cases import CODE, DEVICE, NOWHERE, STACK, TARGET
from tests.differential.processors import After
from tests.pv.emulate.carried_out import TOP, carry_out, word

RSP = 4
VALUE = bytes.fromhex("8877665544332211")


def stacked(after: After, at: int, size: int = 8) -> int:
    return int.from_bytes(after.stack[at - STACK : at - STACK + size], "little")


@pytest.mark.parametrize(("width", "size"), [("qword", 8), ("word", 2)])
def test_push(width: str, size: int) -> None:
    after, cpu = carry_out(f"push {width} ptr [rbx]", VALUE)
    assert (after.registers[RSP], cpu.cycles) == (TOP - size, 1)
    assert stacked(after, TOP - size, size) == int.from_bytes(VALUE[:size], "little")


@pytest.mark.parametrize(("width", "size"), [("qword", 8), ("word", 2)])
def test_pop(width: str, size: int) -> None:
    after, cpu = carry_out(f"pop {width} ptr [rbx]", VALUE)
    assert (after.registers[RSP], cpu.cycles) == (TOP + size, 1)
    assert word(after) == int.from_bytes(VALUE, "little") >> 8 * size << 8 * size


def test_an_operand_by_rsp_is_before_a_push_and_after_a_pop() -> None:
    after, _ = carry_out("push qword ptr [rsp]", VALUE, rsp=DEVICE)
    assert (after.registers[RSP], word(after)) == (DEVICE - 8, int.from_bytes(VALUE, "little"))
    after, _ = carry_out("pop qword ptr [rsp]", VALUE, rsp=DEVICE)
    assert (after.registers[RSP], word(after, 8, 8)) == (DEVICE + 8, int.from_bytes(VALUE, "little"))


def test_a_pop_whose_operand_faults_keeps_the_stack() -> None:
    after, cpu = carry_out("pop qword ptr [rbx]", rbx=NOWHERE)
    assert (after.fault, cpu.get(RSP)) == (14, TOP)


@pytest.mark.parametrize("text", ["push qword ptr [rbx]", "call [rbx]"])
def test_a_stack_that_faults_is_found_before_the_device_is_read(text: str) -> None:
    after, cpu = carry_out(text, TARGET.to_bytes(8, "little"), rsp=NOWHERE + 8)
    assert (after.fault, cpu.cycles, cpu.get(RSP), cpu.rip) == (14, 0, NOWHERE + 8, CODE)


def test_near_transfers() -> None:
    after, _ = carry_out("jmp [rbx]", TARGET.to_bytes(8, "little"))
    assert (after.rip, after.registers[RSP]) == (TARGET, TOP)
    after, _ = carry_out("call [rbx]", TARGET.to_bytes(8, "little"))
    assert (after.rip, after.registers[RSP], stacked(after, TOP - 8)) == (TARGET, TOP - 8, CODE + 2)


@pytest.mark.parametrize("text", ["jmp [rbx]", "call [rbx]"])
def test_a_target_that_is_not_canonical_changes_nothing(text: str) -> None:
    after, cpu = carry_out(text, (1 << 47).to_bytes(8, "little"))
    assert (after.fault, cpu.rip, cpu.get(RSP)) == (13, CODE, TOP)
    assert not any(cpu.pages[STACK])
