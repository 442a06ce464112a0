"""The fault job's model: a round touches each page once, the next one finds other frames."""

from __future__ import annotations

from guest_sdk.work import fault, mixed


def test_the_first_round_finds_new_frames() -> None:
    state = 1
    for operation in range(fault.PAGES):
        state = mixed(mixed(state, operation), 0)
    assert fault.expected(fault.PAGES) == state


def test_the_second_round_finds_the_firsts_frames_one_further() -> None:
    first = fault.PAGES
    assert fault.expected(first + 1) == mixed(mixed(fault.expected(first), first), 1)


def test_the_window_is_a_power_of_two() -> None:
    assert fault.PAGES & (fault.PAGES - 1) == 0
