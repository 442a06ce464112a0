"""idle, unmodified: the timer's count and the EOI are stores to the APIC's page; between them as for a tick."""

from __future__ import annotations

import pytest

from guest_sdk.work import idle as work
from tests.guest_sdk.workloads.checks import COUNTS, UNMODIFIED, check_costs, check_form, check_repeats, check_result
from unmodified_guests import idle as form


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_the_result_is_the_models(operations: int, technique: str) -> None:
    check_result(form, work, technique, operations)


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", COUNTS)
def test_what_an_operation_costs(operations: int, technique: str) -> None:
    rest = operations - 1
    more = {
        "INTERRUPT_FLAG": 4 * rest,
        "HLT": rest,
        "MMIO": 2 * rest,
        "IRET": rest,
    }
    check_costs(form, technique, operations, {"HLT": 1, "MMIO": 9, "IRET": 1}, more, of_apic=(1, rest))


@pytest.mark.parametrize("technique", UNMODIFIED)
def test_ten_runs_are_alike(technique: str) -> None:
    check_repeats(form, technique)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
