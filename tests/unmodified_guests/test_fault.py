"""fault, unmodified: two page faults a page, one for the guest and one that fills the shadow; CR2 read, IRETQ.

A round ends with a load of CR3, which protects the table again. The next fault lets it be written: no third comes.
"""

from __future__ import annotations

import pytest

from guest_sdk.work import fault as work
from guest_sdk.work.fault import PAGES
from tests.guest_sdk.workloads.checks import COUNTS, UNMODIFIED, check_costs, check_form, check_repeats, check_result
from unmodified_guests import fault as form


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", [*COUNTS, 64, 65, 1000])
def test_the_result_is_the_models(operations: int, technique: str) -> None:
    check_result(form, work, technique, operations)


@pytest.mark.parametrize("technique", UNMODIFIED)
@pytest.mark.parametrize("operations", [*COUNTS, 64, 65, 1000])
def test_what_an_operation_costs(operations: int, technique: str) -> None:
    more = {
        "EXCEPTION_NMI": 2 * (operations - 1),
        "CR_ACCESS": operations - 1 + operations // PAGES,
        "IRET": operations - 1,
    }
    check_costs(form, technique, operations, {"IRET": 1, "CR_ACCESS": 4}, more)


@pytest.mark.parametrize("technique", UNMODIFIED)
def test_ten_runs_are_alike(technique: str) -> None:
    check_repeats(form, technique)


def test_what_it_offers_and_refuses() -> None:
    check_form(form, work)
