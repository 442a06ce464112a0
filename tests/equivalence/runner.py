"""A program under several techniques: one machine each, put back to its begin for every program, then held together.

What is held together is what `pvkit check` compares (pv.check), without any area left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from pv.check import Difference, Observation, compare
from pv.check.observe import read
from pv.check.traffic import Recorder
from pv.exits import StopWhy
from pv.machine import Machine
from pv.snapshot import Snapshot
from tests.equivalence import layout as at
from tests.equivalence.harness import furniture, image
from tests.equivalence.program import Program

MAX_EXITS: Final = 6000
TIMEOUT_S: Final = 5.0
BUDGETS: Final = frozenset({StopWhy.MAX_EXITS, StopWhy.TIMEOUT})
RSP: Final = 4
KNOWN_TABLES: Final = frozenset(
    {(at.ROOT, 3), (at.OTHER_ROOT, 3), (at.DIRECTORY, 1), (at.TABLE, 0), (at.OTHER_TABLE, 0)}
    | {(at.WINDOW_DIRECTORY, 1), (at.WINDOW_TABLE, 0), (at.OTHER_DIRECTORY, 1)}
)


class Bench:
    """One technique's machine. Close it."""

    def __init__(self, technique: str, memory: Any = at.MEMORY) -> None:
        self.technique: Final = technique
        self._memory = memory
        self.machine = self._new()
        self.recorder = Recorder(self.machine)
        self._begin = self._take()

    def run(self, program: Program) -> Observation:
        """Run the program from the begin."""
        self._restore()
        machine = self.machine
        kernel, user = program.pages()
        machine.patch(at.CODE, kernel)
        machine.patch(at.USER, user)
        machine.memory.write(at.DATA, program.data)
        for register, value in enumerate(program.registers):
            if register != RSP:
                machine.vcpu.set(register, value)
        outcome = machine.run(timeout=TIMEOUT_S, max_exits=MAX_EXITS)
        seen = read(machine, self.recorder, outcome)
        if (
            outcome.why is StopWhy.SHUTDOWN
        ):  # a triple fault: which of its page faults CR2 names is nobody's to ask any more
            seen = replace(seen, registers={**seen.registers, "cr2": 0})
        return replace(seen, tables=seen.tables | KNOWN_TABLES)  # which a program may have unhooked since

    def close(self) -> None:
        self.machine.close()

    def _new(self) -> Machine:
        machine = Machine(memory=self._memory, technique=self.technique, plugins=False)
        machine.load(image())
        for gpa, data in furniture():
            machine.memory.write(gpa, data)
        return machine

    def _take(self) -> Snapshot | None:
        """The begin, None where this technique's machines have no snapshots: each program then gets a new machine."""
        try:
            return self.machine.snapshot()
        except ValueError:
            return None

    def _restore(self) -> None:
        self.recorder.clear()
        outcome = self.machine.outcome
        if outcome is None:
            return
        if self._begin is not None and outcome.why is not StopWhy.ENGINE_ABORT:
            try:
                self.machine.restore(self._begin)
                return
            except ValueError:
                self._begin = None
        self.machine.close()
        self.machine = self._new()
        self.recorder = Recorder(self.machine)
        if self._begin is not None:
            self._begin = self._take()


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a program: the difference of the pair `names`. unfinished: a budget ended a run."""

    difference: Difference | None = None
    names: tuple[str, str] = ("", "")
    unfinished: bool = False


class Benches:
    """All techniques side by side: the first is what the others are held to. A context manager."""

    def __init__(self, techniques: Sequence[str]) -> None:
        self._stack = ExitStack()
        self.techniques: Final = tuple(techniques)
        self.benches: Final = [Bench(name) for name in techniques]
        for bench in self.benches:
            self._stack.callback(bench.close)
        self.ends: Final[Counter[str]] = Counter()

    def run(self, program: Program) -> Found:
        """Run the program under each, and compare."""
        observations = [bench.run(program) for bench in self.benches]
        first, *others = observations
        self.ends[first.outcome.summary.split(" at ")[0]] += 1
        if any(one.outcome.why in BUDGETS for one in observations):
            return Found(unfinished=True)
        for other in others:
            difference = compare(first, other)
            if difference is not None:
                return Found(difference, (first.technique, other.technique))
        return Found()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
