"""The cpuid-msr job's model: four registers and two halves of a value an operation, leaves in turn."""

from __future__ import annotations

from guest_sdk.work import cpuid_msr, mixed
from tests.guest_sdk.work.processor import processor


def test_the_checksum_by_hand() -> None:
    leaves = {leaf: (leaf % 97, 2, 3, 4) for leaf in cpuid_msr.LEAVES}
    state = 0
    for part in (0, 2, 3, 4, 0x2345_0000, 1, 0x8000_0000 % 97, 2, 3, 4, 0x2345_0001, 1):
        state = mixed(state, part)
    assert cpuid_msr.expected(2, leaves) == state


def test_leaves_come_round() -> None:
    leaves = {leaf: (0, 0, 0, number) for number, leaf in enumerate(cpuid_msr.LEAVES)}
    assert cpuid_msr.expected(6, leaves) != cpuid_msr.expected(6, {**leaves, cpuid_msr.LEAVES[0]: (0, 0, 0, 9)})


def test_the_leaves_say_the_same_to_both_forms() -> None:
    assert processor("paravirt") == processor("trap")
