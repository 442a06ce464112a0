"""disk, unmodified: a block of 4 KiB is 2,048 words, six registers, a status and two EOIs."""

from __future__ import annotations

import pytest

from guest_sdk.work import disk as work
from tests.guest_sdk.workloads.checks import COUNTS, UNMODIFIED, check_costs, check_form, check_repeats, check_result
from unmodified_guests import disk as form


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int, technique: str) -> None:
    check_result(form, work, technique, operations)


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int, technique: str) -> None:
    rest = operations - 1
    more = {
        "IO_INSTRUCTION": (2048 + 6 + 1 + 2) * rest,
        "INTERRUPT_FLAG": 2 * rest,
        "IRET": rest,
    }
    check_costs(form, technique, operations, {"INTERRUPT_FLAG": 10, "IRET": 4}, more)


@pytest.mark.parametrize("technique", UNMODIFIED)
def test_ten_runs_are_alike(technique: str) -> None:
    check_repeats(form, technique, 20)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
