"""What the snapshot suite measures is what it says: pages dirtied, forks at their first exit, memory shared."""

from __future__ import annotations

import pytest

from bench.compare import PACKAGES
from bench.snapshots import DIRTY_PAGES, FILLED_BYTES, PAGE_BYTES, crowd, dirty, filled, fork_and_exit


@pytest.mark.parametrize("technique", sorted(PACKAGES))
def test_the_guest_fills_and_dirties(technique: str) -> None:
    with filled(technique) as machine:
        snapshot = machine.snapshot()
        assert sum(1 for _ in snapshot.memory.filled()) >= FILLED_BYTES // PAGE_BYTES
        dirty(machine)
        written = machine.memory.pages.written()
        if written is None:
            pytest.skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
        pages = sum(end - start for start, end in written) // PAGE_BYTES
        assert DIRTY_PAGES <= pages <= DIRTY_PAGES + 8


@pytest.mark.parametrize("technique", sorted(PACKAGES))
def test_a_fork_runs_to_one_exit(technique: str) -> None:
    with filled(technique) as machine, fork_and_exit(machine, machine.snapshot()) as child:
        assert child.vcpu.exits == machine.vcpu.exits + 1


def test_forks_hold_less_than_machines() -> None:
    weighed = crowd("paravirt", 20)
    assert weighed.forks == 20
    assert weighed.fork_bytes < weighed.whole_bytes / 2
