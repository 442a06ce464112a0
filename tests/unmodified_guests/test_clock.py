"""clock, unmodified: a latch and two bytes: three port accesses a read."""

from __future__ import annotations

import pytest

from guest_sdk.work import clock as work
from tests.guest_sdk.workloads.checks import COUNTS, UNMODIFIED, check_costs, check_form, check_repeats, check_result
from unmodified_guests import clock as form


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int, technique: str) -> None:
    check_result(form, work, technique, operations)


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int, technique: str) -> None:
    more = {"IO_INSTRUCTION": 3 * (operations - 1)}
    check_costs(form, technique, operations, {}, more)


@pytest.mark.parametrize("technique", UNMODIFIED)
def test_ten_runs_are_alike(technique: str) -> None:
    check_repeats(form, technique)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
