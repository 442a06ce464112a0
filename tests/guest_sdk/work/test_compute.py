"""The compute job's model: the sieve has the primes, the table is that of CRC-32."""

from __future__ import annotations

import zlib

from guest_sdk.work import compute


def test_the_sieve_leaves_the_primes() -> None:
    composite = compute.sieve()
    assert [n for n in range(2, 30) if not composite[n]] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert sum(composite[2:]) == 8190 - 1028  # there are 1,028 primes below 8,192


def test_the_table_is_crc_32s() -> None:
    crc = 0xFFFFFFFF
    for byte in b"123456789":
        crc = crc >> 8 ^ compute.crc_of_byte((crc ^ byte) & 0xFF)
    assert crc ^ 0xFFFFFFFF == zlib.crc32(b"123456789") == 0xCBF43926


def test_each_round_goes_on_from_the_last() -> None:
    composite = compute.sieve()
    assert compute.expected(2) == zlib.crc32(b"\1\0" + composite[2:], zlib.crc32(b"\0\0" + composite[2:]))
