"""Eight spaces of 16 pages: both guests come to what the model says, and after the first round nothing faults."""

from __future__ import annotations

import pytest

from bench.nano.spaces import expected, paravirt, unmodified
from guest_sdk.work.address_space import SPACES
from pv.machine import Machine
from pv.techniques import TECHNIQUES


def run(technique: str, operations: int) -> tuple[str, dict[str, int], dict[str, int]]:
    with Machine(memory="16MiB", technique=technique) as machine:
        machine.load((paravirt if technique == "paravirt" else unmodified)(operations))
        outcome = machine.run(timeout=20)
    return outcome.console, dict(outcome.exits), dict(outcome.events)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("operations", [1, 2, 17, 100])
def test_the_result_is_the_models(technique: str, operations: int) -> None:
    assert run(technique, operations)[0] == f"result {expected(operations)}\n"


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_working_set_is_filled_once(technique: str) -> None:
    """From the second round on a switch costs the switch: no page fault, no fill, no space made anew."""
    (_, once, filled), (_, often, still) = run(technique, SPACES), run(technique, 20 * SPACES)
    assert often.get("EXCEPTION_NMI", 0) == once.get("EXCEPTION_NMI", 0)
    counts = ("shadow fills", "guest page faults", "page-table writes", "shadow syncs", "shadow drops")
    assert {name: still.get(name) for name in counts} == {name: filled.get(name) for name in counts}
