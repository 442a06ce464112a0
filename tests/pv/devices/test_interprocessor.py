"""Commands and destinations of interprocessor interrupts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.interprocessor import is_destination, is_extended_destination, send

FLAT, CLUSTER = 0xFFFF_FFFF, 0x0FFF_FFFF
SELF, ALL, OTHERS = 1 << 18, 2 << 18, 3 << 18


@pytest.mark.parametrize(
    ("low", "answer"),
    [
        (SELF, (True, True)), (ALL, (True, True)), (OTHERS, (True, False)), (0, (True, True)), (0x100, (True, True)),
        (SELF | 0x100, (False, False)), (0x500, (False, False)), (ALL | 0x400, (False, False)),
    ],
)  # fmt: skip
def test_shorthands_and_delivery_modes(low: int, answer: tuple[bool, bool]) -> None:
    assert send(low | 0x40, 0, FLAT) == answer


@given(st.integers(0, 255))
def test_a_physical_destination_is_identity_0_or_all(wanted: int) -> None:
    assert is_destination(wanted, 0, FLAT, logical=False) is (wanted in (0, 255))


@given(st.integers(0, 255), st.integers(0, 255))
def test_a_flat_destination_is_a_set_of_bits(wanted: int, mine: int) -> None:
    common = any(wanted >> bit & mine >> bit & 1 for bit in range(8))
    assert is_destination(wanted, mine << 24, FLAT, logical=True) is common


@given(st.integers(0, 255), st.integers(0, 255))
def test_a_cluster_comes_before_its_members(wanted: int, mine: int) -> None:
    member = any(wanted >> bit & mine >> bit & 1 for bit in range(4))
    expected = member and wanted // 16 in (mine // 16, 15)
    assert is_destination(wanted, mine << 24, CLUSTER, logical=True) is expected


@given(st.one_of(st.integers(0, 0xFFFF_FFFF), st.integers(0, 0x3_FFFF), st.just(0xFFFF_FFFF)), st.booleans())
def test_an_extended_destination_is_32_bits_of_identity_or_a_cluster_of_16(wanted: int, logical: bool) -> None:
    named = wanted < 1 << 16 and wanted % 2 == 1 if logical else wanted == 0
    assert is_extended_destination(wanted, logical=logical) is (named or wanted == 0xFFFF_FFFF)


@pytest.mark.parametrize(("wanted", "arrives"), [(0, True), (0xFF, False), (0xFFFF_FFFF, True), (1 << 24, False)])
def test_in_x2apic_mode_a_command_has_an_extended_destination(wanted: int, arrives: bool) -> None:
    assert send(wanted << 32 | 0x40, 0, FLAT, extended=True) == (True, arrives)
