"""In what do two runs of a guest differ first? Told in the order in which it happened, as far as that is known.

Device traffic comes first, since an access has a place in time; then how the run ended, console, registers, chips and
memory. What is timing, and so not compared, is declared in pv.check.timing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pv.check.memory import Rules, compare_memory, descriptor_words
from pv.check.observe import Observation
from pv.check.timing import (
    CHIPS_OF_INTERRUPTS,
    COUNTS,
    TIMING_CHIPS,
    TIMING_DEVICES,
    UNSEEN,
    Ignored,
)
from pv.check.traffic import Access

NO_PART: Final = object()
NOTHING: Final = Ignored()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing in which two runs differ.

    what: of WHATS. where: which access, register, chip or address, in words. left, right: both sides' values, as text.
    accesses: the access on either side, None where one side made none (device traffic). rip: of either side, where
    an instruction is to blame. gpa: of the byte (memory).
    """

    what: str
    where: str
    left: str
    right: str
    accesses: tuple[Access | None, Access | None] = (None, None)
    rips: tuple[int | None, int | None] = (None, None)
    gpa: int | None = None
    notes: tuple[str, ...] = field(default=())


Step = Callable[[Observation, Observation, Ignored], Difference | None]


def compare(left: Observation, right: Observation, ignored: Ignored = NOTHING) -> Difference | None:
    """The first difference of two runs, None where there is none."""
    for step in STEPS.values():
        found = step(left, right, ignored)
        if found is not None:
            return found
    return None


# ---- device traffic ----


def stream(one: Observation, ignored: Ignored, unseen: Iterable[str], timed_writes: int | None = None) -> list[Access]:
    """The accesses that are compared; of writes to timing devices the first `timed_writes`."""
    left_out = ignored.devices | frozenset(unseen)
    before = len(one.accesses) if one.first_tick is None else one.first_tick
    kept, timed = [], 0
    for access in one.accesses:
        if access.device in left_out:
            continue
        if access.device in TIMING_DEVICES:
            if not access.write or access.number >= before or (timed_writes is not None and timed >= timed_writes):
                continue
            timed += 1
        kept.append(access)
    return kept


def streams(left: Observation, right: Observation, ignored: Ignored) -> tuple[list[Access], list[Access]]:
    """The accesses of both that are held against each other."""
    unseen = UNSEEN.get(left.technique, frozenset()) | UNSEEN.get(right.technique, frozenset())
    both = stream(left, ignored, unseen), stream(right, ignored, unseen)
    if left.first_tick is None and right.first_tick is None:
        return both
    timed = min(sum(access.device in TIMING_DEVICES for access in one) for one in both)
    return stream(left, ignored, unseen, timed), stream(right, ignored, unseen, timed)


def traffic(left: Observation, right: Observation, ignored: Ignored) -> Difference | None:
    ours, theirs = streams(left, right, ignored)
    for index, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if not a.same(b, value=a.place not in COUNTS):
            return _access_difference(index, a, b, left, right)
    if len(ours) == len(theirs):
        return None
    index = min(len(ours), len(theirs))
    end, other = (one[index] if index < len(one) else None for one in (ours, theirs))
    return _access_difference(index, end, other, left, right)


def _access_difference(
    index: int, a: Access | None, b: Access | None, left: Observation, right: Observation
) -> Difference:
    ticked = any(
        one.first_tick is not None and (access is None or one.first_tick <= access.number)
        for one, access in ((left, a), (right, b))
    )
    notes = ("a timer had fired before: the order of accesses may be timing",) if ticked else ()
    rips = a.rip if a is not None else None, b.rip if b is not None else None
    return Difference(
        "device traffic", f"access {index + 1}", access_text(a), access_text(b), (a, b), rips, notes=notes
    )


def access_text(access: Access | None) -> str:
    """An access in a few words."""
    if access is None:
        return "no access"
    place = f"gpa {access.place:#x}" if access.memory else f"port {access.place:#x}"
    moved = "no value" if access.value < 0 else f"{access.value:#x}"
    direction = "write" if access.write else "read"
    return f"{direction} of {moved}, {access.size} byte{'s' * (access.size > 1)}, {place} ({access.device})"


# ---- the end ----


def ending(left: Observation, right: Observation, _ignored: Ignored) -> Difference | None:
    a, b = left.outcome, right.outcome
    if (a.why, a.status) == (b.why, b.status):
        return None
    return Difference("how it ended", "", a.summary, b.summary, rips=(a.rip, b.rip))


def console(left: Observation, right: Observation, _ignored: Ignored) -> Difference | None:
    a, b = left.outcome.console, right.outcome.console
    if a == b:
        return None
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return Difference("console", f"character {at + 1}", repr(a[at : at + 40]), repr(b[at : at + 40]))


def register_values(left: Observation, right: Observation, ignored: Ignored) -> Difference | None:
    for name, a in left.registers.items():
        b = right.registers[name]
        if a != b and name not in ignored.registers:
            return Difference(
                "registers", name, f"{a:#x}", f"{b:#x}", rips=(left.registers["rip"], right.registers["rip"])
            )
    return None


def chip_states(left: Observation, right: Observation, ignored: Ignored) -> Difference | None:
    ticked = left.first_tick is not None or right.first_tick is not None
    for name, ours in left.chips.items():
        theirs = right.chips.get(name, NO_PART)
        if ours == theirs or name in TIMING_CHIPS or name in ignored.devices:
            continue
        if name in CHIPS_OF_INTERRUPTS and ticked:
            continue
        if not isinstance(ours, dict) or not isinstance(theirs, dict):
            return Difference("chips", name, repr(ours), "none" if theirs is NO_PART else repr(theirs))
        part = next(key for key in ours if ours[key] != theirs.get(key, NO_PART))
        return Difference("chips", f"{name}.{part}", repr(ours[part]), repr(theirs.get(part)))
    return None


def memory(left: Observation, right: Observation, ignored: Ignored) -> Difference | None:
    found = compare_memory(left.memory, right.memory, ignored.areas, rules(left, right))
    if found.first is None:
        return None
    gpa, a, b = found.first
    notes = (f"{found.differing} bytes differ",) if found.differing > 1 else ()
    return Difference("memory", f"gpa {gpa:#x}", f"{a:#04x}", f"{b:#04x}", gpa=gpa, notes=notes)


def rules(left: Observation, right: Observation) -> Rules | None:
    """What the memories of two runs are compared under; None where they are equal as they stand."""
    if left.memory == right.memory:
        return None
    words = [descriptor_words(one.memory, dict(one.registers)) for one in (left, right)]
    return Rules(left.memory, right.memory, left.tables | right.tables, words[0] & words[1])


STEPS: Final[dict[str, Step]] = {
    "device traffic": traffic,
    "how it ended": ending,
    "console": console,
    "registers": register_values,
    "chips": chip_states,
    "memory": memory,
}
