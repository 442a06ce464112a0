"""The console job's model: lines that carry their number in hexadecimal, and their checksum."""

from __future__ import annotations

from guest_sdk.work import FACTOR, console


def test_lines_carry_their_number() -> None:
    lines = console.lines(12).splitlines(keepends=True)
    assert len(lines) == 12
    assert lines[11] == b"line 0000000b of those that the guest may print\n"
    assert {len(line) for line in lines} == {48}


def test_the_checksum_is_a_polynomial_of_the_bytes() -> None:
    text = console.lines(3)
    polynomial = sum(byte * FACTOR ** (len(text) - 1 - at) for at, byte in enumerate(text))
    assert console.expected(3) == polynomial % (1 << 32)


def test_the_operation_says_the_lines_length() -> None:
    assert f"{len(console.LINE)} bytes" in console.OPERATION
