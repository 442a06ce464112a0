"""What one run leaves, as values."""

from __future__ import annotations

import pytest

from pv.check import Run, observe
from pv.exits import StopWhy
from pv.loaders import LoadError
from tests.pv.check.guests import HARDWARE, WRITES, observed, run_of


@pytest.mark.parametrize("technique", HARDWARE)
def test_everything_of_a_run_is_kept(technique: str) -> None:
    one = observed(WRITES, technique)
    assert one.technique == technique
    assert (one.outcome.why, one.outcome.status, one.outcome.console) == (StopWhy.EXITED, 0, "AB")
    assert len(one.memory) == 2 << 20
    assert one.registers["rbx"] == 7
    assert len(one.accesses) == 3
    assert one.chips["com1"]["lcr"] == 0
    assert one.tables == {(0x10000, 3)}
    assert one.complete
    assert one.recorded_all


def test_a_run_that_a_budget_ends_is_not_complete() -> None:
    assert not observe(Run(run_of("again: jmp again").image, "2MiB", timeout=0.01), "trap").complete
    assert not observe(Run(run_of("again: in al, 0x80; jmp again").image, "2MiB", max_exits=5), "trap").complete


def test_each_access_is_told_of_as_it_happens() -> None:
    seen = []
    observe(run_of(WRITES), "trap", lambda machine, access: seen.append((machine.technique.name, access.value)))
    assert seen == [("trap", 0x41), ("trap", 0x42), ("trap", 0)]


def test_what_is_no_guest_is_refused() -> None:
    with pytest.raises(LoadError):
        observe(Run(b"", "2MiB"), "trap")
