"""What a machine shows, all of it, and guests to snapshot: for the tests of snapshots and their files."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

from bench.compare import find_workload, workload_disks
from pv.machine import Machine
from pv.outcome import Outcome
from pv.plugin import foreign_plugins

MEMORY = "16MiB"
OPERATIONS = 12


def workload(name: str, technique: str) -> Machine:
    """A machine with one of the workloads in it."""
    machine = Machine(memory=MEMORY, technique=technique, disks=workload_disks(), disabled_plugins=foreign_plugins())
    machine.load(find_workload(name, technique).build(OPERATIONS))
    return machine


def seen(machine: Machine, outcome: Outcome) -> dict[str, Any]:
    """All that a run can be compared by: what it counted, said and left behind."""
    return {
        "why": outcome.why,
        "status": outcome.status,
        "detail": outcome.detail,
        "rip": outcome.rip,
        "by_key": dict(outcome.by_key),
        "calls": dict(outcome.calls),
        "events": dict(outcome.events),
        "console": outcome.console,
        "time": machine.vcpu.now_ns,
        "registers": [machine.vcpu.get(number) for number in range(16)],
        # The record's flags are the engine's, which works out the arithmetic ones when somebody asks.
        "record": [replace(entry, rflags=0) for entry in machine.vcpu.flight_record()],
        "memory": zlib.crc32(machine.memory.view),
    }


def finish(machine: Machine) -> dict[str, Any]:
    """Run to the end."""
    return seen(machine, machine.run(timeout=60))
