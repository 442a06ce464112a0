"""SSE moves with a device: halves, what a load clears, cycles, and alignment."""

from __future__ import annotations

import pytest

from pv.emulate.operations_vectors import ALIGNED
from tests.pv.emulate.carried_out import carry_out, word

BYTES = bytes(range(0x81, 0x91))
FULL = int.from_bytes(BYTES, "little")
XMM1 = int.from_bytes(bytes(range(0x10, 0x20)), "little")  # as carry_out fills it
LOW = (1 << 64) - 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("movups xmm1, [rbx]", FULL), ("movdqa xmm1, [rbx]", FULL), ("lddqu xmm1, [rbx]", FULL),
        ("movss xmm1, dword ptr [rbx]", FULL & 0xFFFFFFFF), ("movd xmm1, dword ptr [rbx]", FULL & 0xFFFFFFFF),
        ("movsd xmm1, qword ptr [rbx]", FULL & LOW), ("movq xmm1, qword ptr [rbx]", FULL & LOW),
        ("movlps xmm1, qword ptr [rbx]", XMM1 & ~LOW | FULL & LOW),
        ("movhpd xmm1, qword ptr [rbx]", XMM1 & LOW | (FULL & LOW) << 64),
        ("movddup xmm1, qword ptr [rbx]", (FULL & LOW) << 64 | FULL & LOW),
    ],
)  # fmt: skip
def test_loads(text: str, value: int) -> None:
    after, _ = carry_out(text, BYTES)
    assert after.vectors[1] == value


@pytest.mark.parametrize(
    ("text", "size", "value", "cycles"),
    [
        ("movaps [rbx], xmm1", 16, XMM1, 2), ("movntdq [rbx], xmm1", 16, XMM1, 2), ("movdqu [rbx], xmm1", 16, XMM1, 2),
        ("movss dword ptr [rbx], xmm1", 4, XMM1 & 0xFFFFFFFF, 1), ("movq qword ptr [rbx], xmm1", 8, XMM1 & LOW, 1),
        ("movhps qword ptr [rbx], xmm1", 8, XMM1 >> 64, 1),
    ],
)  # fmt: skip
def test_stores(text: str, size: int, value: int, cycles: int) -> None:
    after, cpu = carry_out(text, b"\xff" * 16)
    assert (word(after, size), cpu.cycles) == (value, cycles)
    assert after.data[0x1000 + size : 0x1010] == b"\xff" * (16 - size)


@pytest.mark.parametrize("name", ALIGNED)
def test_alignment(name: str) -> None:
    text = f"{name} [rbx], xmm1" if name.startswith("MOVNT") and name != "MOVNTDQA" else f"{name} xmm1, [rbx]"
    after, cpu = carry_out(text, BYTES, offset=8)
    assert (after.fault, cpu.cycles, cpu.vectors[1]) == (13, 0, XMM1)


def test_16_bytes_across_an_end_of_the_page() -> None:
    after, cpu = carry_out("movups [rbx], xmm1", offset=0xFFB)
    assert after.data[0x1FFB:0x200B] == XMM1.to_bytes(16, "little")
    assert cpu.cycles == 5
