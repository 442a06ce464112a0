"""What did one run of a guest leave? A machine of its own, its devices recorded, and everything read once it stands.

Nothing of a technique's own is kept: the values of an Observation are what the guest could have seen or has done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pv.check.memory import FRAME, ROOT_LEVEL
from pv.check.state import chips, registers
from pv.check.traffic import ACCESSES_MOST, Access, Recorder
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome

COMPLETE: Final = frozenset(StopWhy) - {StopWhy.TIMEOUT, StopWhy.MAX_EXITS, StopWhy.STOPPED}


@dataclass(frozen=True, slots=True)
class Run:
    """What is run: a guest's bytes, and what its machine is made with. disks: as Machine takes them, and none rw."""

    image: bytes = field(repr=False)
    memory: str | int = "16MiB"
    disks: tuple[str, ...] = ()
    timeout: float | None = None
    max_exits: int | None = None
    disabled_plugins: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """One run. first_tick: how many accesses came before the first timer fired, None where none fired.

    tables: (gpa, level) of page tables that the guest is known to have used, 3 for the root of each CR3 that it loaded.
    """

    technique: str
    outcome: Outcome
    registers: Mapping[str, int]
    memory: bytes = field(repr=False)
    accesses: tuple[Access, ...] = field(repr=False)
    first_tick: int | None
    tables: frozenset[tuple[int, int]]
    chips: Mapping[str, Any] = field(repr=False)
    symbols: Mapping[str, int] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether the guest came to its own end, and not to that of a budget."""
        return self.outcome.why in COMPLETE

    @property
    def recorded_all(self) -> bool:
        """Whether every access was kept."""
        return len(self.accesses) < ACCESSES_MOST


def observe(run: Run, technique: str, on_access: Callable[[Machine, Access], None] | None = None) -> Observation:
    """Run the guest under `technique`. on_access is called with the machine and each access as it happens.

    Raises what Machine and load() raise.
    """
    with Machine(
        memory=run.memory, technique=technique, disks=run.disks, disabled_plugins=run.disabled_plugins
    ) as machine:
        watch = None if on_access is None else lambda access: on_access(machine, access)
        recorder = Recorder(machine, watch)
        machine.load(run.image)
        outcome = machine.run(timeout=run.timeout, max_exits=run.max_exits)
        return read(machine, recorder, outcome)


def read(machine: Machine, recorder: Recorder, outcome: Outcome) -> Observation:
    """The observation of a machine that has run."""
    seen = registers(machine)
    return Observation(
        technique=machine.technique.name,
        outcome=outcome,
        registers=seen,
        memory=bytes(machine.memory.view),
        accesses=tuple(recorder.accesses),
        first_tick=recorder.first_tick,
        tables=frozenset((root & FRAME, ROOT_LEVEL) for root in (*recorder.roots, seen["cr3"])),
        chips=chips(machine.pc),
        symbols={} if machine.image is None else machine.image.symbols,
    )
