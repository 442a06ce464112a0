"""Moves with a device: what the register then holds, and what the device was given."""

from __future__ import annotations

import pytest

from pv.emulate.alu import CF, OF, PF, SF, ZF
from pv.emulate.operations_moves import CONDITIONS
from tests.pv.emulate.carried_out import carry_out, word

BYTES = bytes.fromhex("8182838485868788")
HOLDS = {  # SDM vol. 1, appendix B: flags under which each condition holds, of these
    "O": {OF}, "B": {CF}, "E": {ZF}, "BE": {CF, ZF}, "S": {SF}, "P": {PF}, "L": {SF, OF}, "LE": {ZF, SF, OF},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rax"),
    [
        ("mov al, [rbx]", 0xFFFFFFFFFFFFFF81), ("mov ah, [rbx]", 0xFFFFFFFFFFFF81FF), ("mov eax, [rbx]", 0x84838281),
        ("movzx eax, word ptr [rbx]", 0x8281), ("movsx ax, byte ptr [rbx]", 0xFFFFFFFFFFFFFF81),
        ("movsxd rax, dword ptr [rbx]", 0xFFFFFFFF84838281), ("movbe eax, [rbx]", 0x81828384),
        ("movbe rax, [rbx]", 0x8182838485868788), ("movbe ax, [rbx]", 0xFFFFFFFFFFFF8182),
    ],
)  # fmt: skip
def test_loads(text: str, rax: int) -> None:
    after, _ = carry_out(text, BYTES, rax=(1 << 64) - 1)
    assert after.registers[0] == rax


@pytest.mark.parametrize(
    ("text", "size", "value"),
    [("movnti [rbx], eax", 4, 0x55667788), ("movbe [rbx], eax", 4, 0x88776655), ("mov [rbx], ah", 1, 0x77),
     ("movbe [rbx], ax", 2, 0x8877), ("mov qword ptr [rbx], -2", 8, (1 << 64) - 2)],
)  # fmt: skip
def test_stores(text: str, size: int, value: int) -> None:
    after, cpu = carry_out(text, rax=0x1122334455667788)
    assert (word(after, size), word(after, 8) >> 8 * size, cpu.cycles) == (value, 0, 1)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("flag", [0, OF, CF, ZF, SF, PF])
def test_conditions(condition: str, flag: int) -> None:
    plain = {"NO": "O", "AE": "B", "NE": "E", "A": "BE", "NS": "S", "NP": "P", "GE": "L", "G": "LE"}
    holds = (flag in HOLDS[plain.get(condition, condition)]) != (condition in plain)
    assert word(carry_out(f"set{condition} byte ptr [rbx]", b"\xff", flag)[0], 1) == holds
    after, cpu = carry_out(f"cmov{condition} eax, dword ptr [rbx]", BYTES, flag, rax=(1 << 64) - 1)
    assert after.registers[0] == (0x84838281 if holds else 0xFFFFFFFF)
    assert cpu.cycles == 1
