"""idle, paravirtual: a call sets the timer, a call sleeps; the time is on a page."""

from __future__ import annotations

import pytest

from guest_sdk.work import idle as work
from guest_sdk.workloads import idle as form
from tests.guest_sdk.workloads.checks import COUNTS, check_costs, check_form, check_repeats, check_result

TECHNIQUE = "paravirt"


@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int) -> None:
    check_result(form, work, TECHNIQUE, operations)


@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int) -> None:
    more = {"VMCALL": 2 * (operations - 1)}
    check_costs(form, TECHNIQUE, operations, {"MSR_WRITE": 1, "VMCALL": 8}, more)


def test_ten_runs_are_alike() -> None:
    check_repeats(form, TECHNIQUE)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
