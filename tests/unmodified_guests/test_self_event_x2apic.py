"""self-event by x2APIC: SELF IPI and the EOI are WRMSR, and IRETQ exits; the page is not touched."""

from __future__ import annotations

import pytest

from guest_sdk.work import self_event as work
from tests.guest_sdk.workloads.checks import COUNTS, check_costs, check_form, check_repeats, check_result
from unmodified_guests import self_event_x2apic as form

TECHNIQUE = "trap"


@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int) -> None:
    outcome = check_result(form, work, TECHNIQUE, operations)
    by_msr = {key: count for (reason, key), count in outcome.by_key.items() if reason == "MSR_WRITE" and "APIC" in key}
    assert by_msr == {"APIC_BASE": 1, "X2APIC_SVR": 1, "X2APIC_SELF_IPI": operations, "X2APIC_EOI": operations}
    assert "MMIO" not in outcome.exits


@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int) -> None:
    more = {"MSR_WRITE": 2 * (operations - 1), "IRET": operations - 1}
    check_costs(form, TECHNIQUE, operations, {"MSR_WRITE": 5, "MSR_READ": 2, "IRET": 1}, more)


def test_ten_runs_are_alike() -> None:
    check_repeats(form, TECHNIQUE)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
