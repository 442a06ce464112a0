"""syscall, unmodified: SYSCALL and SYSRET exit."""

from __future__ import annotations

import pytest

from guest_sdk.work import syscall as work
from tests.guest_sdk.workloads.checks import COUNTS, UNMODIFIED, check_costs, check_form, check_repeats, check_result
from unmodified_guests import syscall as form


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int, technique: str) -> None:
    check_result(form, work, technique, operations)


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int, technique: str) -> None:
    more = {"SYSCALL": operations - 1, "SYSRET": operations - 1}
    check_costs(form, technique, operations, {"SYSCALL": 2, "SYSRET": 2}, more)


@pytest.mark.parametrize("technique", UNMODIFIED)
def test_ten_runs_are_alike(technique: str) -> None:
    check_repeats(form, technique)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
