"""What do shifts and rotates leave? Pure functions of value, count and old flags.

SDM vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD and SHRD. A count is masked to 5 bits, or 6 for an operand of 64; one
of 0 changes nothing, flags included. OF is defined for a count of 1 alone, AF never, and CF of SHL and SHR not past the
operand's width: the engine's values stand for those.
"""

from __future__ import annotations

from collections.abc import Callable

from pv.emulate.alu import CF, OF, STATUS, result_flags

Shift = Callable[[int, int, int, int], tuple[int, int]]
"""f(value, count, bits, rflags) -> (result, rflags); value below 2**bits, count masked and not 0."""


def masked(count: int, bits: int) -> int:
    return count & (0x3F if bits == 64 else 0x1F)


def _shifted(before: int, result: int, carry: int, bits: int, rflags: int) -> tuple[int, int]:
    """before: the value shifted by one less. OF: whether the last step changed the sign."""
    changed = (before ^ result) >> bits - 1 & 1
    return result, rflags & ~STATUS | result_flags(result, bits) | (CF if carry else 0) | (OF if changed else 0)


def left(value: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    mask = (1 << bits) - 1
    before = value << count - 1 & mask
    return _shifted(before, before << 1 & mask, before >> bits - 1, bits, rflags)


def right(value: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    before = value >> count - 1
    return _shifted(before, before >> 1, before & 1, bits, rflags)


def right_signed(value: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    before = (value ^ 1 << bits - 1) - (1 << bits - 1) >> count - 1
    mask = (1 << bits) - 1
    return _shifted(before & mask, before >> 1 & mask, before & 1, bits, rflags)


def _rotated(result: int, carry: int, overflow: int, rflags: int) -> tuple[int, int]:
    return result, rflags & ~(CF | OF) | (CF if carry & 1 else 0) | (OF if overflow & 1 else 0)


def rotate_left(value: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    """A whole number of turns leaves the value, and CF its lowest bit."""
    turn = count % bits
    result = (value << turn | value >> bits - turn) & (1 << bits) - 1
    return _rotated(result, result, result >> bits - 1 ^ result, rflags)


def rotate_right(value: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    turn = count % bits
    result = (value >> turn | value << bits - turn) & (1 << bits) - 1
    return _rotated(result, result >> bits - 1, result >> bits - 1 ^ result >> bits - 2, rflags)


def rotate_left_with_carry(value: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    """CF is the bit above the value: bits + 1 of them turn."""
    turn = count % (bits + 1)
    if not turn:
        return value, rflags
    wide = value | (rflags & CF) << bits
    wide = (wide << turn | wide >> bits + 1 - turn) & (1 << bits + 1) - 1
    result = wide & (1 << bits) - 1
    return _rotated(result, wide >> bits, (result ^ value) >> bits - 1, rflags)


def rotate_right_with_carry(value: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    turn = count % (bits + 1)
    if not turn:
        return value, rflags
    wide = value | (rflags & CF) << bits
    wide = (wide >> turn | wide << bits + 1 - turn) & (1 << bits + 1) - 1
    result = wide & (1 << bits) - 1
    return _rotated(result, wide >> bits, (result ^ value) >> bits - 1, rflags)


Double = Callable[[int, int, int, int, int], tuple[int, int]]
"""f(value, filler, count, bits, rflags) -> (result, rflags): bits of `filler` come in where those of value go out."""


def double_left(value: int, filler: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    """SHLD. Of 16 bits, a count past 16 is undefined: the value comes round again, as the engine has it."""
    mask = (1 << bits) - 1
    wide = (value << bits | filler) << bits | (value if bits == 16 else 0)
    before, result = (wide << step >> 2 * bits & mask for step in (count - 1, count))
    return _shifted(before, result, before >> bits - 1, bits, rflags)


def double_right(value: int, filler: int, count: int, bits: int, rflags: int) -> tuple[int, int]:
    """SHRD, likewise; of 64 bits and a count past 1, the engine's OF is the sign of the result."""
    mask = (1 << bits) - 1
    wide = ((value if bits == 16 else 0) << bits | filler) << bits | value
    before = (value if bits == 64 else wide) >> count - 1 & mask
    return _shifted(before, wide >> count & mask, before & 1, bits, rflags)
