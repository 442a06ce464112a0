"""cpuid-msr, unmodified: CPUID, WRMSR and RDMSR exit."""

from __future__ import annotations

import pytest

from guest_sdk.work import cpuid_msr as work
from tests.guest_sdk.work.processor import processor
from tests.guest_sdk.workloads.checks import COUNTS, UNMODIFIED, check_costs, check_form, check_repeats, run
from unmodified_guests import cpuid_msr as form


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int, technique: str) -> None:
    outcome = run(form.build(operations), technique)
    assert outcome.console == f"result {work.expected(operations, processor(technique))}\n"


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int, technique: str) -> None:
    more = dict.fromkeys(("CPUID", "MSR_WRITE", "MSR_READ"), operations - 1)
    check_costs(form, technique, operations, {"CPUID": 1, "MSR_WRITE": 2, "MSR_READ": 2}, more)


@pytest.mark.parametrize("technique", UNMODIFIED)
def test_ten_runs_are_alike(technique: str) -> None:
    check_repeats(form, technique)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
