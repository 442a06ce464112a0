"""disk, unmodified: a block of 4 KiB is 2,048 words, six registers, a status and two EOIs."""

from __future__ import annotations

import pytest

from guest_sdk.work import disk as work
from tests.guest_sdk.workloads.checks import COUNTS, check_costs, check_form, check_repeats, check_result
from unmodified_guests import disk as form

TECHNIQUE = "trap"


@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int) -> None:
    check_result(form, work, TECHNIQUE, operations)


@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int) -> None:
    rest = operations - 1
    more = {
        "IO_INSTRUCTION": (2048 + 6 + 1 + 2) * rest,
        "INTERRUPT_FLAG": 2 * rest,
        "IRET": rest,
    }
    check_costs(form, TECHNIQUE, operations, {"INTERRUPT_FLAG": 10, "IRET": 4}, more)


def test_ten_runs_are_alike() -> None:
    check_repeats(form, TECHNIQUE, 20)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
