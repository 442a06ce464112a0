"""What does an arithmetic instruction leave in its destination and in the flags?

Pure functions of operands, width and old flags; SDM vol. 1, 3.4.3.1 and appendix A. What the SDM calls undefined
is left as the engine beneath leaves it, so that an instruction means the same whether it was emulated or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

CF: Final = 1 << 0
PF: Final = 1 << 2
AF: Final = 1 << 4
ZF: Final = 1 << 6
SF: Final = 1 << 7
DF: Final = 1 << 10
OF: Final = 1 << 11
STATUS: Final = CF | PF | AF | ZF | SF | OF

EVEN_PARITY: Final = tuple(PF if bin(byte).count("1") % 2 == 0 else 0 for byte in range(0x100))

Binary = Callable[[int, int, int, int], tuple[int, int]]
"""f(destination, source, bits, rflags) -> (result, rflags); operands unsigned and below 2**bits."""
Unary = Callable[[int, int, int], tuple[int, int]]
"""f(destination, bits, rflags) -> (result, rflags)."""


def result_flags(result: int, bits: int) -> int:
    """PF, ZF and SF of a result below 2**bits."""
    return EVEN_PARITY[result & 0xFF] | (0 if result else ZF) | (SF if result >> bits - 1 else 0)


def _sum(a: int, b: int, carry: int, bits: int, rflags: int) -> tuple[int, int]:
    total = a + b + carry
    result = total & (1 << bits) - 1
    flags = result_flags(result, bits) | (a ^ b ^ result) & AF
    if total >> bits:
        flags |= CF
    if (a ^ result) & (b ^ result) & 1 << bits - 1:
        flags |= OF
    return result, rflags & ~STATUS | flags


def _difference(a: int, b: int, borrow: int, bits: int, rflags: int) -> tuple[int, int]:
    result = (a - b - borrow) & (1 << bits) - 1
    flags = result_flags(result, bits) | (a ^ b ^ result) & AF
    if a < b + borrow:
        flags |= CF
    if (a ^ b) & (a ^ result) & 1 << bits - 1:
        flags |= OF
    return result, rflags & ~STATUS | flags


def add(a: int, b: int, bits: int, rflags: int) -> tuple[int, int]:
    return _sum(a, b, 0, bits, rflags)


def add_with_carry(a: int, b: int, bits: int, rflags: int) -> tuple[int, int]:
    return _sum(a, b, rflags & CF, bits, rflags)


def subtract(a: int, b: int, bits: int, rflags: int) -> tuple[int, int]:
    return _difference(a, b, 0, bits, rflags)


def subtract_with_borrow(a: int, b: int, bits: int, rflags: int) -> tuple[int, int]:
    return _difference(a, b, rflags & CF, bits, rflags)


def _logic(result: int, bits: int, rflags: int) -> tuple[int, int]:
    """CF and OF are cleared; AF is undefined, and clear here."""
    return result, rflags & ~STATUS | result_flags(result, bits)


def bitwise_and(a: int, b: int, bits: int, rflags: int) -> tuple[int, int]:
    return _logic(a & b, bits, rflags)


def bitwise_or(a: int, b: int, bits: int, rflags: int) -> tuple[int, int]:
    return _logic(a | b, bits, rflags)


def exclusive_or(a: int, b: int, bits: int, rflags: int) -> tuple[int, int]:
    return _logic(a ^ b, bits, rflags)


def increment(a: int, bits: int, rflags: int) -> tuple[int, int]:
    """As ADD 1, with CF as it was."""
    result, flags = _sum(a, 1, 0, bits, rflags)
    return result, flags & ~CF | rflags & CF


def decrement(a: int, bits: int, rflags: int) -> tuple[int, int]:
    """As SUB 1, with CF as it was."""
    result, flags = _difference(a, 1, 0, bits, rflags)
    return result, flags & ~CF | rflags & CF


def negate(a: int, bits: int, rflags: int) -> tuple[int, int]:
    return _difference(0, a, 0, bits, rflags)


def complement(a: int, bits: int, rflags: int) -> tuple[int, int]:
    """NOT changes no flag."""
    return ~a & (1 << bits) - 1, rflags


def bit_test(a: int, position: int, rflags: int) -> int:
    """RFLAGS after BT and its kin: CF is the bit at `position`, the rest as it was (ZF is defined to be)."""
    return rflags & ~CF | a >> position & 1


def holds(condition: int, rflags: int) -> bool:
    """Whether condition 0-15, as Jcc, SETcc and CMOVcc encode it, holds (SDM vol. 1, appendix B)."""
    return TESTS[condition >> 1](rflags) != bool(condition & 1)


def _less(rflags: int) -> bool:
    return bool(rflags & SF) != bool(rflags & OF)


TESTS: Final[tuple[Callable[[int], bool], ...]] = (  # O, B, E, BE, S, P, L, LE; an odd condition is the contrary
    lambda rflags: bool(rflags & OF),
    lambda rflags: bool(rflags & CF),
    lambda rflags: bool(rflags & ZF),
    lambda rflags: bool(rflags & (CF | ZF)),
    lambda rflags: bool(rflags & SF),
    lambda rflags: bool(rflags & PF),
    _less,
    lambda rflags: bool(rflags & ZF) or _less(rflags),
)


def scanned(value: int, bits: int, rflags: int) -> int:
    """RFLAGS after BSF and BSR of `value`: ZF is defined, and the engine leaves the others as a TEST would."""
    return rflags & ~STATUS | result_flags(value, bits)


def counted(count: int, none: bool, rflags: int) -> int:
    """RFLAGS after TZCNT and LZCNT: CF says that no bit was set, ZF that the count is 0; the others are cleared."""
    return rflags & ~STATUS | (CF if none else 0) | (0 if count else ZF)
