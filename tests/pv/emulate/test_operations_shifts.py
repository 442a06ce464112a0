"""Shifts and rotates of a device, by a constant, an immediate and CL."""

from __future__ import annotations

import pytest

from pv.emulate.alu import CF, STATUS
from tests.pv.emulate.carried_out import carry_out, word


@pytest.mark.parametrize(
    ("text", "before", "after", "carry"),
    [
        ("shl dword ptr [rbx], 1", 0x80000001, 2, CF), ("shr byte ptr [rbx], 4", 0x9A, 9, CF),
        ("sar word ptr [rbx], cl", 0x8000, 0xF000, 0), ("rol byte ptr [rbx], cl", 0x81, 0x0C, 0),
        ("ror byte ptr [rbx], 1", 0x81, 0xC0, CF), ("rcl byte ptr [rbx], 1", 0x80, 0x00, CF),
        ("rcr byte ptr [rbx], 1", 0x01, 0x00, CF), ("shl qword ptr [rbx], 63", 3, 1 << 63, CF),
    ],
)  # fmt: skip
def test_results(text: str, before: int, after: int, carry: int) -> None:
    left, cpu = carry_out(text, before.to_bytes(8, "little"), rcx=3)
    assert (word(left), left.rflags & CF, cpu.cycles) == (after, carry, 2)


def test_two_registers_wide() -> None:
    left, _ = carry_out("shld [rbx], eax, 8", b"\x11\x22\x33\x44", rax=0xAABBCCDD)
    assert word(left) == 0x332211AA
    left, _ = carry_out("shrd [rbx], eax, cl", b"\x11\x22\x33\x44", rax=0xAABBCCDD, rcx=16)
    assert word(left) == 0xCCDD4433


@pytest.mark.parametrize("text", ["shl dword ptr [rbx], cl", "rcr dword ptr [rbx], cl", "shld [rbx], eax, cl"])
def test_a_count_of_0_changes_nothing_and_writes_all_the_same(text: str) -> None:
    left, cpu = carry_out(text, b"\x11", STATUS | 2, rcx=32)
    assert (word(left), left.rflags, cpu.cycles) == (0x11, STATUS, 2)
