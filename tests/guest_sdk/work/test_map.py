"""The map job's model: each operation reads its own number, and who touched its frame before."""

from __future__ import annotations

from guest_sdk.work import map as work
from guest_sdk.work import mixed


def test_new_frames_were_touched_by_nobody() -> None:
    state = 1
    for operation in range(8):
        state = mixed(mixed(state, operation), 0)
    assert work.expected(8) == state


def test_the_second_round_finds_the_firsts_frames_one_further() -> None:
    assert work.expected(9) == mixed(mixed(work.expected(8), 8), 1)
    assert work.expected(10) == mixed(mixed(work.expected(9), 9), 2)


def test_a_slot_gets_every_frame() -> None:
    rounds = range(work.SLOTS)
    assert {(slot + number) % work.SLOTS for number in rounds for slot in (3,)} == set(rounds)
