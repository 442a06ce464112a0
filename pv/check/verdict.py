"""Do all techniques that can run a guest agree on it? Each is run once and held to the first; one alone, to itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pv.check.compare import Difference, compare, streams
from pv.check.locate import Interval, Place, divergence, places
from pv.check.observe import Observation, Run, observe
from pv.check.state import REGISTERS
from pv.check.timing import Ignored, named_by_guest
from pv.loaders import load
from pv.memory import parse_size
from pv.techniques import TECHNIQUES


@dataclass(frozen=True, slots=True)
class Verdict:
    """observations: in the order in which they ran. sides: of the first pair that differs.

    places: the instruction of either side. interval: of a difference of memory, where it began.
    """

    observations: tuple[Observation, ...]
    ignored: Ignored
    difference: Difference | None = None
    sides: tuple[Observation, Observation] | None = None
    places: tuple[Place | None, ...] = ()
    interval: Interval | None = None

    @property
    def unfinished(self) -> Observation | None:
        """A run that a budget ended: nothing is known of a guest that was still on its way."""
        return next((one for one in self.observations if not one.complete), None)

    @property
    def equal(self) -> bool:
        return self.difference is None and self.unfinished is None

    @property
    def compared_accesses(self) -> int:
        """Device accesses of the first run that were held against every other run's."""
        first, *others = self.observations
        return min((len(streams(first, other, self.ignored)[0]) for other in others), default=0)


def able_techniques(image: bytes, memory: str | int) -> tuple[str, ...]:
    """The techniques that can run a guest: the paravirtual for one that carries the ABI's note, else the others.

    Raises LoadError for what is no guest, ValueError for a size that is none.
    """
    paravirtual = load(image, parse_size(memory)).abi_version is not None
    return tuple(name for name, one in TECHNIQUES.items() if one.takes_hypercalls == paravirtual)


def check(
    run: Run,
    techniques: Sequence[str],
    ignored: Ignored | None = None,
    on_run: Callable[[str], None] = lambda _technique: None,
) -> Verdict:
    """Run the guest under each technique and compare each with the first; a single one runs twice.

    ignored: what is left out, beside what the guest's own symbols name. on_run is called with a technique's name as its
    run starts. Raises what Machine and load() raise.
    """
    ignored = (ignored or Ignored()) | named_by_guest(run.image, REGISTERS)
    observations: list[Observation] = []
    for technique in techniques if len(techniques) > 1 else [*techniques, *techniques]:
        on_run(technique)
        observations.append(observe(run, technique))
    first, *others = observations
    for other in others:
        if not (first.complete and other.complete):
            continue
        difference = compare(first, other, ignored)
        if difference is not None:
            sides = first, other
            interval = None if difference.gpa is None else divergence(run, sides, difference.gpa, ignored)
            found = places(run, sides, difference)
            return Verdict(tuple(observations), ignored, difference, sides, found, interval)
    return Verdict(tuple(observations), ignored)
