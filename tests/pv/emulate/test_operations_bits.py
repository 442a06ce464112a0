"""Bits of a device, near and far, and counts of them on processors with and without the newer instructions."""

from __future__ import annotations

import pytest

from pv.emulate.alu import CF, ZF
from tests.pv.emulate.carried_out import carry_out, word


def test_a_bit_offset_in_a_register_reaches_beyond() -> None:
    after, _ = carry_out("bts [rbx], ecx", rcx=33)
    assert (word(after), after.rflags & CF) == (1 << 33, 0)
    after, _ = carry_out("btr dword ptr [rbx], ecx", b"\xff" * 8, rcx=33)
    assert (word(after), after.rflags & CF) == ((1 << 64) - 1 ^ 1 << 33, CF)
    after, _ = carry_out("btc [rbx + 8], ecx", rcx=0xFFFFFFFF)
    assert word(after) == 1 << 63


def test_an_immediate_offset_stays_within() -> None:
    after, cpu = carry_out("bts dword ptr [rbx], 33")
    assert (word(after), cpu.cycles) == (2, 2)
    _, cpu = carry_out("bt dword ptr [rbx], 33")
    assert cpu.cycles == 1


@pytest.mark.parametrize(
    ("text", "memory", "features", "rax", "flags"),
    [
        ("bsf eax, [rbx]", b"\x00\x50", -1, 12, 0), ("bsr eax, [rbx]", b"\x00\x50", -1, 14, 0),
        ("bsf rax, [rbx]", b"", -1, 0x1111, ZF), ("popcnt eax, [rbx]", b"\xff\x01", -1, 9, 0),
        ("popcnt eax, [rbx]", b"", -1, 0, ZF), ("tzcnt eax, [rbx]", b"\x10", -1, 4, 0),
        ("tzcnt eax, [rbx]", b"\x01", -1, 0, ZF), ("tzcnt eax, [rbx]", b"", -1, 32, CF),
        ("lzcnt ax, [rbx]", b"\x01", -1, 15, 0), ("lzcnt eax, [rbx]", b"", -1, 32, CF),
        ("tzcnt eax, [rbx]", b"\x10", 0, 4, 0), ("lzcnt eax, [rbx]", b"\x10", 0, 4, 0),
        ("tzcnt rax, [rbx]", b"", 0, 0x1111, ZF),
    ],
)  # fmt: skip
def test_counts(text: str, memory: bytes, features: int, rax: int, flags: int) -> None:
    """Without its feature TZCNT is BSF, and LZCNT is BSR, which counts from the other end."""
    after, _ = carry_out(text, memory, rax=0x1111, features=features & 0xFFFF_FFFF)
    assert (after.registers[0], after.rflags & (CF | ZF)) == (rax, flags)
