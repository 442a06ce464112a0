"""Is every difference of a program one that is listed? The slot at which it begins must be of a hole, or of an erratum.

A program is cut short until a slot is found with which a difference begins. That slot is asked for its hole and left
out, and the rest is looked at again: so one hole excuses nothing that comes behind it. Where the slot has none, the
program is shrunk: a hole that is left then is one without which there is no difference.
"""

from __future__ import annotations

from tests.equivalence.program import Program
from tests.equivalence.runner import Benches, Found


class Unexplained(AssertionError):
    """A difference that no listed hole and no erratum makes: with the shortest program that shows it."""

    def __init__(self, program: Program, found: Found, seen: Found) -> None:
        first = f"\nfirst seen as {describe(seen)}" if found != seen else ""
        super().__init__(f"{describe(found)}{first}\n{program.listing()}")

    def __reduce__(self) -> tuple[type[AssertionError], tuple[str]]:
        """A worker process hands over the words alone."""
        return AssertionError, (str(self),)


def describe(found: Found) -> str:
    """The difference on one line."""
    difference = found.difference
    if difference is None:
        return "the difference does not come again"
    where = " ".join(filter(None, (difference.what, difference.where)))
    return f"{where}: {found.names[0]} has {difference.left}, {found.names[1]} has {difference.right}"


def explain(benches: Benches, program: Program) -> tuple[str, ...]:
    """The names of the holes and errata through which the techniques differ on a program. Raises Unexplained."""
    names: list[str] = []
    while (seen := benches.run(program)).difference is not None:
        culprit = first_difference(benches, program)
        if not program.slots[culprit].excuse(benches.techniques):
            short = shrink(benches, program.first(culprit + 1))
            culprit = next((number for number, slot in enumerate(short.slots) if slot.excuse(benches.techniques)), -1)
            if culprit < 0:
                raise Unexplained(short, benches.run(short), seen)
        names.append(program.slots[culprit].excuse(benches.techniques))
        program = program.without([culprit])
    return tuple(names)


def first_difference(benches: Benches, program: Program) -> int:
    """The number of the slot with which the difference begins: programs that end before it are equal."""
    low, high = 1, len(program.slots)
    while low < high:
        middle = (low + high) // 2
        if benches.run(program.first(middle)).difference is not None:
            high = middle
        else:
            low = middle + 1
    return low - 1


def shrink(benches: Benches, program: Program) -> Program:
    """A program that differs, cut behind the slot that makes it do so and without the slots that it does not need."""
    program = program.first(first_difference(benches, program) + 1)
    gone: list[int] = []
    for number in range(len(program.slots) - 1):
        if benches.run(program.without([*gone, number])).difference is not None:
            gone.append(number)
    return program.without(gone)
