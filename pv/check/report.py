"""How is a verdict said? A line a technique, then one that they agree, or what differs first and where."""

from __future__ import annotations

from collections.abc import Iterator

from pv.check.compare import access_text, rules
from pv.check.locate import symbol_at
from pv.check.memory import compare_memory
from pv.check.timing import TIMING_DEVICES
from pv.check.verdict import Verdict


def lines(verdict: Verdict) -> list[str]:
    """The whole report."""
    return [*runs(verdict), *(agreement(verdict) if verdict.equal else disagreement(verdict))]


def runs(verdict: Verdict) -> Iterator[str]:
    """One line a run."""
    width = max(len(one.technique) for one in verdict.observations)
    for one in verdict.observations:
        yield (
            f"{one.technique:<{width}}  {one.outcome.summary}; {one.outcome.exits.total:,} exits, "
            f"{len(one.accesses):,} device accesses"
        )


def agreement(verdict: Verdict) -> Iterator[str]:
    """What was found equal, and what was not looked at."""
    first = verdict.observations[0]
    names = list(dict.fromkeys(one.technique for one in verdict.observations))
    who = "equal under " + ", ".join(names) if len(names) > 1 else f"equal in two runs under {names[0]}"
    size = len(first.memory) - sum(area.size_bytes for area in verdict.ignored.areas)
    yield (
        f"{who}: how it ended, console ({len(first.outcome.console):,} characters), registers, chips, "
        f"{verdict.compared_accesses:,} device accesses, {size:,} bytes of memory"
    )
    yield from left_out(verdict)


def left_out(verdict: Verdict) -> Iterator[str]:
    """What the declared rules made of the runs."""
    first, *others = verdict.observations
    timing = sum(access.device in TIMING_DEVICES for access in first.accesses)
    missed = len(first.accesses) - verdict.compared_accesses
    if missed:
        devices = sorted({access.device for access in first.accesses} & TIMING_DEVICES)
        yield f"not compared, as timing: {missed:,} accesses" + (f" ({', '.join(devices)})" if timing else "")
    normalised = 0
    for other in others:
        under = rules(first, other)
        if under is not None:
            normalised = max(normalised, compare_memory(first.memory, other.memory, (), under).normalised)
    if normalised:
        yield f"accessed and dirty bits differ in {normalised:,} entries, which a processor sets at its own moment"
    if not all(one.recorded_all for one in verdict.observations):
        yield f"device accesses were compared up to the {len(first.accesses):,}th"


def disagreement(verdict: Verdict) -> Iterator[str]:
    """The first difference: what, both sides, and where."""
    unfinished = verdict.unfinished
    if verdict.difference is None or verdict.sides is None:
        assert unfinished is not None
        yield f"not compared: under {unfinished.technique} the guest had not ended ({unfinished.outcome.why.value})"
        return
    found, sides = verdict.difference, verdict.sides
    names = [side.technique for side in sides]
    yield f"different under {names[0]} and {names[1]}: {found.what}{f', {found.where}' if found.where else ''}"
    width = max(map(len, names))
    for name, text, place in zip(names, (found.left, found.right), verdict.places, strict=True):
        yield f"  {name:<{width}}  {text}" + (f"  at {place}" if place is not None else "")
    if found.gpa is not None:
        symbol = symbol_at(sides[0], found.gpa)
        yield f"  gpa {found.gpa:#x}" + (f" is {symbol}" if symbol else " has no symbol")
    if verdict.interval is not None:
        yield f"  it came to differ {interval_text(verdict)}"
    for note in found.notes:
        yield f"  {note}"


def interval_text(verdict: Verdict) -> str:
    """Between which accesses memory came to differ."""
    assert verdict.interval is not None
    after, before = verdict.interval.after, verdict.interval.before
    ends = [
        f"{word} the {access_text(access)} at rip {access.rip:#x}"
        for word, access in (("after", after), ("before", before))
        if access is not None
    ]
    return " and ".join(ends) or "in a run without a device access that is compared"
