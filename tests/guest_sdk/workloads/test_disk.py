"""disk, paravirtual: 64 blocks are one exit: the first kick, and then one sleep for each 64 more."""

from __future__ import annotations

import pytest

from guest_sdk.work import disk as work
from guest_sdk.workloads import disk as form
from guest_sdk.workloads.disk import IN_FLIGHT
from tests.guest_sdk.workloads.checks import COUNTS, check_costs, check_form, check_repeats, check_result

TECHNIQUE = "paravirt"


@pytest.mark.parametrize("operations", [*COUNTS, 64, 65, 128, 129])
def test_the_result_is_the_models(operations: int) -> None:
    check_result(form, work, TECHNIQUE, operations)


@pytest.mark.parametrize("operations", [*COUNTS, 64, 65, 128, 129])
def test_what_an_operation_costs(operations: int) -> None:
    more = {"VMCALL": (operations - 1) // IN_FLIGHT}
    check_costs(form, TECHNIQUE, operations, {"MSR_WRITE": 1, "VMCALL": 9}, more)


def test_ten_runs_are_alike() -> None:
    check_repeats(form, TECHNIQUE)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
