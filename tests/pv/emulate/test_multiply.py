"""Products and quotients against Python's own numbers, which have no width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pv.emulate import multiply
from pv.emulate.alu import CF, OF

WIDTHS = st.sampled_from([8, 16, 32, 64])
VALUES = st.one_of(st.integers(0, (1 << 128) - 1), st.sampled_from([0, 1, 1 << 7, 1 << 63, (1 << 64) - 1]))


def number(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


@given(bits=WIDTHS, a=VALUES, b=VALUES)
def test_products(bits: int, a: int, b: int) -> None:
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    low, high, rflags = multiply.unsigned(a, b, bits, 0)
    assert high << bits | low == a * b
    assert rflags & (CF | OF) == (CF | OF if high else 0)
    low, high, rflags = multiply.signed(a, b, bits, 0)
    product = number(a, bits) * number(b, bits)
    assert number(high << bits | low, 2 * bits) == product
    assert rflags & (CF | OF) == (0 if number(low, bits) == product else CF | OF)


@given(bits=WIDTHS, dividend=VALUES, divisor=VALUES)
def test_quotients(bits: int, dividend: int, divisor: int) -> None:
    dividend, divisor = dividend & (1 << 2 * bits) - 1, divisor & (1 << bits) - 1
    answer = multiply.divide_unsigned(dividend, divisor, bits)
    assert (answer is None) == (divisor == 0 or dividend // divisor >= 1 << bits)
    if answer:
        assert answer[0] * divisor + answer[1] == dividend
        assert answer[1] < divisor
    a, b = number(dividend, 2 * bits), number(divisor, bits)
    answer = multiply.divide_signed(dividend, divisor, bits)
    if answer:
        quotient, remainder = number(answer[0], bits), number(answer[1], bits)
        assert quotient * b + remainder == a
        assert abs(remainder) < abs(b)
        assert remainder * a >= 0
    else:
        assert b == 0 or not -(1 << bits - 1) <= abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) < 1 << bits - 1


def test_the_smallest_number_by_minus_one_does_not_fit() -> None:
    assert multiply.divide_signed((1 << 16) - 0x80, 0xFF, 8) is None
    assert multiply.divide_signed((1 << 16) - 0x7F, 0xFF, 8) == (0x7F, 0)
