"""Runs workloads under techniques and counts what each costs: what `pvkit compare` and `pytest bench` share.

A workload is a pair of modules of one name: guest_sdk.workloads has the guest that asks by hypercall,
unmodified_guests the one that knows only the architecture. Both offer NAME, OPERATION, DEFAULT_OPERATIONS and
build(operations) -> bytes, and print a last line `result N`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

from bench.disks import workload_disks
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome
from pv.plugin import foreign_plugins
from pv.report.comparison import WELL, ComparisonRow
from pv.techniques import TECHNIQUES

WORKLOADS: Final = (
    *("console", "clock", "timer", "idle", "self-event", "cpuid-msr", "disk"),
    *("address-space", "map", "fault", "interrupt-flag", "syscall", "compute"),
)
PACKAGES: Final = {  # by technique: a guest that boots on the monitor's page tables is one that knows of a monitor
    name: "guest_sdk.workloads" if technique.boot == "monitor tables" else "unmodified_guests"
    for name, technique in TECHNIQUES.items()
}
MEMORY: Final = "16MiB"
TIMEOUT_S: Final = 300.0  # a workload that takes longer is stuck


class Workload(Protocol):
    """What a workload's module offers. OPERATION says in a few words what one operation is."""

    NAME: str
    OPERATION: str
    DEFAULT_OPERATIONS: int

    def build(self, operations: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one guest: host seconds inside Machine.run, and what came of it."""

    seconds: float
    exits: dict[str, int]
    console: str
    ended: str


class UnknownName(ValueError):
    """No workload or technique of that name; the message lists those there are."""


def check_names(what: str, asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """`asked` without repeats, or all `known` where nothing is asked. Raises UnknownName."""
    for name in asked:
        if name not in known:
            raise UnknownName(f"no {what} is called {name!r}; there are {', '.join(known)}")
    return tuple(dict.fromkeys(asked)) or tuple(known)


def find_workload(name: str, technique: str) -> Workload:
    """The module of workload `name` for `technique`."""
    return cast(Workload, import_module(f"{PACKAGES[technique]}.{name.replace('-', '_')}"))


def run_once(image: bytes, technique: str) -> Run:
    """Run a guest in a machine of its own. The time is that of Machine.run alone, translation included.

    Plugins of other packages are left out: a comparison is of pvkit's techniques, and is the same on every computer.
    """
    with Machine(
        memory=MEMORY, technique=technique, disks=workload_disks(), disabled_plugins=foreign_plugins()
    ) as machine:
        machine.load(image)
        outcome = machine.run(timeout=TIMEOUT_S)
    return Run(outcome.seconds, dict(outcome.exits), outcome.console, how_it_ended(outcome))


def how_it_ended(outcome: Outcome) -> str:
    """WELL, or what went wrong in a few words."""
    if outcome.why is StopWhy.EXITED and outcome.status:
        return f"exited with {outcome.status}"
    return outcome.why.value


def compare(
    workloads: Sequence[str] = (),
    techniques: Sequence[str] = (),
    *,
    scale: float = 1.0,
    repeat: int = 3,
    on_run: Callable[[str, str], None] = lambda _workload, _technique: None,
) -> list[ComparisonRow]:
    """Rows for each workload under each technique. Empty sequences mean all; raises UnknownName.

    scale: multiplies each workload's default number of operations. repeat: runs of each, techniques taking turns,
    of which the median time counts. on_run(workload, technique) is called as each run starts.
    """
    names = check_names("workload", workloads, WORKLOADS)
    chosen = check_names("technique", techniques, tuple(PACKAGES))
    return [row for name in names for row in compare_one(name, chosen, scale, repeat, on_run)]


def compare_one(
    name: str, techniques: Sequence[str], scale: float, repeat: int, on_run: Callable[[str, str], None]
) -> list[ComparisonRow]:
    """The rows of one workload."""
    modules = {technique: find_workload(name, technique) for technique in techniques}
    # both halves of a pair do the same number of operations: that of the first
    operations = max(1, round(next(iter(modules.values())).DEFAULT_OPERATIONS * scale))
    built = {PACKAGES[technique]: module.build(operations) for technique, module in modules.items()}
    images = {technique: built[PACKAGES[technique]] for technique in techniques}
    runs: dict[str, list[Run]] = {technique: [] for technique in techniques}
    for _ in range(repeat):
        for technique in techniques:
            on_run(name, technique)
            runs[technique].append(run_once(images[technique], technique))
    printed = {run.console for group in runs.values() for run in group}
    well = all(run.ended == WELL for group in runs.values() for run in group)
    rows = []
    for technique in techniques:
        group = runs[technique]
        lines = group[0].console.splitlines()
        rows.append(
            ComparisonRow(
                workload=name,
                technique=technique,
                engine="unicorn",
                operation=modules[technique].OPERATION,
                operations=operations,
                exits=sum(group[0].exits.values()),
                exits_by_reason=group[0].exits,
                seconds=statistics.median(run.seconds for run in group),
                repeats=repeat,
                result=lines[-1] if lines else "",
                ended=next((run.ended for run in group if run.ended != WELL), WELL),
                agrees=(len(printed) == 1 and well) if len(techniques) > 1 else None,
            )
        )
    return rows
