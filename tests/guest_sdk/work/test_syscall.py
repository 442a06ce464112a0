"""The syscall job's model: the sums that the kernel answers."""

from __future__ import annotations

from guest_sdk.work import mixed, syscall


def test_the_answers_are_the_running_sums() -> None:
    state = 1
    for total in (0, 7, 21, 42):
        state = mixed(state, total)
    assert syscall.expected(4) == state


def test_the_program_is_on_pages_of_its_own() -> None:
    assert syscall.TEXT.count(".align 4096") == 2
