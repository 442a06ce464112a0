"""Where did two runs begin to differ? The code at an access that differs; between which accesses a byte of memory did.

Both runs are made again, which leads to the same places: a run of a guest repeats. That costs as much as the check
itself and is done for one difference alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pv.check.compare import Difference, streams
from pv.check.observe import Observation, Run, observe
from pv.check.timing import Ignored
from pv.check.traffic import Access
from pv.outcome import disassemble

WORD: Final = 8


@dataclass(frozen=True, slots=True)
class Place:
    """An instruction: symbol is the nearest one below it and the distance, empty where there is none."""

    rip: int
    symbol: str
    instruction: str

    def __str__(self) -> str:
        return f"{self.rip:#x}{f' ({self.symbol})' if self.symbol else ''}: {self.instruction}"


def symbol_at(observation: Observation, address: int) -> str:
    """`name+0x12` of the nearest symbol at or below `address`; empty where the guest has none."""
    below = [(at, name) for name, at in observation.symbols.items() if at <= address]
    if not below:
        return ""
    at, name = max(below)
    return f"{name}+{address - at:#x}" if address > at else name


def places(run: Run, sides: tuple[Observation, Observation], difference: Difference) -> tuple[Place | None, ...]:
    """The instruction of either side that a difference is told of, None where there is none."""
    found: list[Place | None] = []
    for side, access, rip in zip(sides, difference.accesses, difference.rips, strict=True):
        if rip is None:
            found.append(None)
            continue
        code = side.outcome.code if access is None else code_of(run, side, access)
        found.append(Place(rip, symbol_at(side, rip), disassemble(code, rip)))
    return tuple(found)


def code_of(run: Run, side: Observation, access: Access) -> bytes:
    """The bytes of the instruction that made `access`, as they were then; empty where another run never gets there."""
    codes: list[bytes] = []

    def look(machine: Any, seen: Access) -> None:
        if seen.number == access.number and seen.rip == access.rip:
            codes.append(machine.vcpu.flight_record()[-1].code)

    observe(run, side.technique, look)
    return codes[0] if codes else b""


@dataclass(frozen=True, slots=True)
class Interval:
    """Between which accesses, as they are compared, a word of memory first differed. None: the run's begin or end."""

    after: Access | None
    before: Access | None


def divergence(run: Run, sides: tuple[Observation, Observation], gpa: int, ignored: Ignored) -> Interval:
    """Where in the device traffic of two runs, which is the same, the word at `gpa` came to differ."""
    samples: list[dict[int, bytes]] = []
    for side in sides:
        words: dict[int, bytes] = {}

        def look(machine: Any, seen: Access, words: dict[int, bytes] = words) -> None:
            words[seen.number] = machine.memory.read(gpa - gpa % WORD, WORD)

        observe(run, side.technique, look)
        samples.append(words)
    last: Access | None = None
    for ours, theirs in zip(*streams(*sides, ignored), strict=False):
        if samples[0].get(ours.number) != samples[1].get(theirs.number):
            return Interval(last, ours)
        last = ours
    return Interval(last, None)
