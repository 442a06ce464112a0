from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.emulate.architecture import CR0_DEFINED, canonical


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        (0, True),
        (0x7FFF_FFFF_FFFF, True),
        (0x8000_0000_0000, False),
        (0xFFFF_7FFF_FFFF_FFFF, False),
        (0xFFFF_8000_0000_0000, True),
        (0xFFFF_FFFF_FFFF_FFFF, True),
    ],
)
def test_the_edges_of_the_canonical_halves(address: int, answer: bool) -> None:
    assert canonical(address) is answer


@settings(deadline=None)
@given(st.integers(0, (1 << 64) - 1))
def test_canonical_is_the_sign_extension_of_48_bits(address: int) -> None:
    low = address & (1 << 48) - 1
    extended = low | (0xFFFF << 48 if low >> 47 else 0)
    assert canonical(address) is (extended == address)


def test_cr0_has_eleven_defined_bits() -> None:
    assert CR0_DEFINED.bit_count() == 11
