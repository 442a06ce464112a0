"""Running a guest under translate and under hardware: what it leaves is equal, whatever it does to its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

from pv.check import Observation, compare
from pv.check.observe import read
from pv.check.traffic import Recorder
from pv.exits import StopWhy
from tests.pv.engines.unicorn.guests import TrapGuest

LEAST_CACHE: Final = 1 << 15  # bytes: what the option allows
TRANSLATE, HARDWARE = "translate", "hardware"
Pieces = Mapping[int, str | bytes]
Prepare = Callable[[TrapGuest], None]


class Left(NamedTuple):
    """What the guest left under translate, and what its cache did."""

    seen: Observation
    statistics: Mapping[str, int]

    @property
    def status(self) -> int | None:
        return self.seen.outcome.status


def observed(
    technique: str,
    code: str | bytes,
    pieces: Pieces | None,
    prepare: Prepare | None,
    budget: Mapping[str, Any],
    **options: Any,
) -> Left:
    """One run of a guest of tests.pv.engines.unicorn.guests."""
    with ExitStack() as stack:
        guest = stack.enter_context(TrapGuest(code, pieces, technique=technique, **options))
        if prepare is not None:
            prepare(guest)
        recorder = Recorder(guest.machine)
        outcome = guest.machine.run(**{"timeout": 60, "max_exits": 1_000_000, **budget})
        return Left(read(guest.machine, recorder, outcome), guest.vcpu.translation_statistics())


def same(
    code: str | bytes,
    pieces: Pieces | None = None,
    prepare: Prepare | None = None,
    *,
    cache_bytes: int | None = None,
    memory: str = "4MiB",
    **budget: Any,
) -> Left:
    """Run it under both; assert that it came to an end of its own, and that all it left is equal."""
    options = {} if cache_bytes is None else {"cache_bytes": cache_bytes}
    left = observed(TRANSLATE, code, pieces, prepare, budget, memory=memory, options=options)
    right = observed(HARDWARE, code, pieces, prepare, budget, memory=memory)
    assert left.seen.complete, left.seen.outcome.summary
    assert left.seen.outcome.why is not StopWhy.ENGINE_ERROR, left.seen.outcome.summary
    difference = compare(left.seen, right.seen)
    assert difference is None, f"{difference}; {left.seen.outcome.summary}; {right.seen.outcome.summary}"
    return left
