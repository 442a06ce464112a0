"""What do MUL, IMUL, DIV and IDIV leave? Pure functions; SDM vol. 2 under each.

Of a product CF and OF are defined; SF, ZF and PF are those of its low half and AF is clear, as the engine leaves them.
"""

from __future__ import annotations

from collections.abc import Callable

from pv.emulate.alu import CF, OF, STATUS, result_flags

Multiply = Callable[[int, int, int, int], tuple[int, int, int]]
"""f(a, b, bits, rflags) -> (low half, high half, rflags); operands unsigned and below 2**bits."""
Divide = Callable[[int, int, int], tuple[int, int] | None]
"""f(dividend of twice the bits, divisor, bits) -> (quotient, remainder), or None for #DE."""


def _two_complement(value: int, bits: int) -> int:
    return (value ^ 1 << bits - 1) - (1 << bits - 1)


def _halves(product: int, wide: bool, bits: int, rflags: int) -> tuple[int, int, int]:
    mask = (1 << bits) - 1
    low = product & mask
    return low, product >> bits & mask, rflags & ~STATUS | result_flags(low, bits) | (CF | OF if wide else 0)


def unsigned(a: int, b: int, bits: int, rflags: int) -> tuple[int, int, int]:
    """MUL: CF and OF say that the upper half is not 0."""
    return _halves(a * b, a * b >> bits != 0, bits, rflags)


def signed(a: int, b: int, bits: int, rflags: int) -> tuple[int, int, int]:
    """IMUL: CF and OF say that the product is not its low half, sign-extended."""
    product = _two_complement(a, bits) * _two_complement(b, bits)
    fits = product == _two_complement(product & (1 << bits) - 1, bits)
    return _halves(product, not fits, bits, rflags)


def divide_unsigned(dividend: int, divisor: int, bits: int) -> tuple[int, int] | None:
    if not divisor or dividend // divisor >> bits:
        return None
    return dividend // divisor, dividend % divisor


def divide_signed(dividend: int, divisor: int, bits: int) -> tuple[int, int] | None:
    """Toward zero; the remainder has the sign of the dividend."""
    if not divisor:
        return None
    a, b, mask = _two_complement(dividend, 2 * bits), _two_complement(divisor, bits), (1 << bits) - 1
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if not -(1 << bits - 1) <= quotient < 1 << bits - 1:
        return None
    return quotient & mask, a - quotient * b & mask
