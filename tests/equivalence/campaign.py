"""Many random programs, one after the other: what is counted of them, and the first that differs, shrunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final

from pv.techniques import TECHNIQUES as ALL
from tests.equivalence.explain import Unexplained, explain, shrink
from tests.equivalence.program import generate
from tests.equivalence.runner import Benches

TECHNIQUES: Final = tuple(name for name, one in ALL.items() if one.boot == "guest tables")
TRANSLATED: Final = ("translate", "hardware")  # without trap nothing is excused by a hole, and its kinds are drawn too
CHUNK: Final = 250  # programs that a worker takes at a time


@dataclass(slots=True)
class Tally:
    """programs run; unfinished: those that a budget ended, of which nothing is known. ends: how the first technique's
    runs ended. listed: differences by the hole or erratum that makes them."""

    programs: int = 0
    unfinished: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    listed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.programs += other.programs
        self.unfinished += other.unfinished
        self.ends.update(other.ends)
        self.listed.update(other.listed)


def run_seeds(seeds: Iterable[int], techniques: Sequence[str] = TECHNIQUES, *, holes: bool = False) -> Tally:
    """Run the program of each seed under each technique. Raises Unexplained at the first that differs as none may."""
    tally = Tally()
    with Benches(techniques) as benches:
        for seed in seeds:
            program = generate(seed, techniques, holes=holes)
            found = benches.run(program)
            tally.programs += 1
            tally.unfinished += found.unfinished
            if found.difference is None:
                continue
            if holes:
                tally.listed.update(explain(benches, program))
            else:
                short = shrink(benches, program)
                raise Unexplained(short, benches.run(short), found)
        tally.ends = benches.ends
    return tally


def _chunk(work: tuple[range, Sequence[str], bool]) -> Tally:
    seeds, techniques, holes = work
    return run_seeds(seeds, techniques, holes=holes)


def run_many(
    programs: int, first: int, workers: int, techniques: Sequence[str] = TECHNIQUES, *, holes: bool = False
) -> Tally:
    """Likewise for seeds first to first + programs - 1, in processes."""
    last = first + programs
    chunks = [(range(at, min(at + CHUNK, last)), techniques, holes) for at in range(first, last, CHUNK)]
    tally = Tally()
    with get_context("spawn").Pool(workers) as pool:
        for one in pool.imap_unordered(_chunk, chunks):
            tally.add(one)
    return tally
