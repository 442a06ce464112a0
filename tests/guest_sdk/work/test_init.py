"""What every job stands on: the number of operations, the checksum, and the lines that print the result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import Guest, work
from tests.guest_sdk.workloads.checks import BAD_OPERATIONS, run


@pytest.mark.parametrize("operations", BAD_OPERATIONS)
def test_a_number_that_is_none_is_refused(operations: object) -> None:
    with pytest.raises(ValueError, match=r"^operations: .* is not a whole number from 1 to 1000000000$"):
        work.check_operations(operations)  # type: ignore[arg-type]


@pytest.mark.parametrize("operations", [1, work.MOST_OPERATIONS])
def test_the_edges_are_operations(operations: int) -> None:
    assert work.check_operations(operations) == operations


@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=6, unique=True))
def test_the_order_of_values_counts(values: list[int]) -> None:
    def checksum(of: list[int]) -> int:
        state = 0
        for value in of:
            state = work.mixed(state, value)
        return state

    swapped = [values[1], values[0], *values[2:]]
    # 30 times the difference of two neighbours is 0 modulo 2^32 only where they differ by a multiple of 2^31
    assert (checksum(values) != checksum(swapped)) or (values[0] - values[1]) % (1 << 31) == 0


def test_the_guest_mixes_as_the_model_does() -> None:
    guest = Guest("mix", paravirt=True).asm("main:\njmp work")
    lines = f"work:\nmov ebx, 0x89abcdef\nmov ecx, 0xfedcba98\n{work.mix('ebx', 'ecx')}\nmov eax, ebx"
    work.add(guest, 5, f"{lines}\njmp print_result")
    assert run(guest.build(), "paravirt").console == f"result {work.mixed(0x89ABCDEF, 0xFEDCBA98)}\n"


def test_the_number_of_operations_is_a_constant_of_the_guest() -> None:
    guest = Guest("count", paravirt=True).asm("main:\njmp work")
    work.add(guest, 12345, "work:\nmov eax, OPERATIONS\njmp print_result")
    assert run(guest.build(), "paravirt").console == "result 12345\n"
