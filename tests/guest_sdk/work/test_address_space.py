"""The address-space job's model: eight pages that change by the number of the switch."""

from __future__ import annotations

from guest_sdk.work import address_space, mixed


def test_the_first_round_reads_the_first_values() -> None:
    state = 0
    for space in range(8):
        state = mixed(state, 1000 + space)
    assert address_space.expected(8) == state


def test_the_second_round_reads_what_the_first_left() -> None:
    assert address_space.expected(9) == mixed(address_space.expected(8), 1000)
    assert address_space.expected(10) == mixed(address_space.expected(9), 1001 + 1)
    assert address_space.expected(18) == mixed(address_space.expected(17), 1001 + 1 + 9)


def test_frames_are_apart() -> None:
    assert len({address_space.frame(space) for space in range(address_space.SPACES)}) == address_space.SPACES
