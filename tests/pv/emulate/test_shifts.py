"""Shifts and rotates against a list of bits that are moved one at a time, as SDM vol. 2 writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.emulate import shifts
from pv.emulate.alu import CF, OF, result_flags

WIDTHS = st.sampled_from([8, 16, 32, 64])
VALUES = st.integers(0, (1 << 64) - 1)
STEPS = {  # one step: (bits, lowest first, carry) -> the same
    "left": lambda bits, _carry: ([0, *bits[:-1]], bits[-1]),
    "right": lambda bits, _carry: ([*bits[1:], 0], bits[0]),
    "right_signed": lambda bits, _carry: ([*bits[1:], bits[-1]], bits[0]),
    "rotate_left": lambda bits, _carry: ([bits[-1], *bits[:-1]], bits[-1]),
    "rotate_right": lambda bits, _carry: ([*bits[1:], bits[0]], bits[0]),
    "rotate_left_with_carry": lambda bits, carry: ([carry, *bits[:-1]], bits[-1]),
    "rotate_right_with_carry": lambda bits, carry: ([*bits[1:], carry], bits[0]),
}


@pytest.mark.parametrize("name", STEPS)
@given(width=WIDTHS, value=VALUES, count=st.integers(1, 63), carry=st.integers(0, 1))
def test_steps(name: str, width: int, value: int, count: int, carry: int) -> None:
    count = shifts.masked(count, width)
    value &= (1 << width) - 1
    bits, left = [value >> i & 1 for i in range(width)], carry
    for _ in range(count):
        bits, left = STEPS[name](bits, left)
    if not count:
        return
    result, rflags = getattr(shifts, name)(value, count, width, carry)
    assert result == sum(bit << i for i, bit in enumerate(bits))
    assert rflags & CF == left
    if count == 1:  # where OF is defined: whether the sign changed, of ROL and RCL whether it differs from CF
        assert bool(rflags & OF) == bool((result ^ value) >> width - 1)
    if not name.startswith("rotate"):
        assert rflags & ~(CF | OF) == result_flags(result, width)


@given(width=st.sampled_from([16, 32, 64]), value=VALUES, filler=VALUES, count=st.integers(1, 63))
def test_double_shifts(width: int, value: int, filler: int, count: int) -> None:
    mask = (1 << width) - 1
    value, filler, count = value & mask, filler & mask, shifts.masked(count, width)
    if not 0 < count <= width:
        return
    left, rflags = shifts.double_left(value, filler, count, width, 0)
    assert (left, rflags & CF) == ((value << width | filler) << count >> width & mask, value >> width - count & 1)
    right, rflags = shifts.double_right(value, filler, count, width, 0)
    assert (right, rflags & CF) == ((filler << width | value) >> count & mask, value >> count - 1 & 1)


def test_counts_are_masked_by_the_width() -> None:
    assert [shifts.masked(0x7F, width) for width in (8, 16, 32, 64)] == [31, 31, 31, 63]
