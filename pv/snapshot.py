"""What is a machine at one moment, and how does it become that again? State by part, pages shared until written.

A snapshot holds values and frozen pages only: it outlives its machine, fits any machine of the same shape, and is put
back any number of times. Each part saves itself; PARTS lists them. What a run does after a restore, it did the same way
after the snapshot: exits, console, virtual time and result are those of the run that went on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import msgpack

from pv.engine_options import engine_sizes
from pv.exits import StopWhy
from pv.outcome import Outcome, make_outcome
from pv.pages import FrozenPages, PageFile
from pv.plugin import describe

if TYPE_CHECKING:
    from pv.machine import Machine


class SnapshotError(ValueError):
    """A snapshot that cannot be taken, read or put back: why, and where one can, how to mend it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a machine must have in common with a snapshot's. plugins: versions by name. calls: numbers by name."""

    technique: str
    memory_bytes: int
    engine: str
    options: Mapping[str, int | float | str]
    plugins: Mapping[str, str]
    calls: Mapping[str, int]
    grants: tuple[str, ...] | None
    quotas: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the run before the snapshot ended: what run() returned, but for what the machine counts itself."""

    why: str
    status: int | None
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A machine at one moment. `trusted`: whether it was taken in this process, so that nobody made it up."""

    shape: Shape
    state: Mapping[str, Any]
    memory: FrozenPages
    tables: FrozenPages
    ending: Ending | None
    trusted: bool = True

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file, whole or not at all. Raises OSError."""
        from pv.snapshot_file import write_snapshot

        write_snapshot(self, path)

    @staticmethod
    def load(path: str | PathLike[str]) -> Snapshot:
        """Read one. Raises SnapshotError with the reason for a file that is none, OSError where it cannot be read."""
        from pv.snapshot_file import read_snapshot

        return read_snapshot(path)


def shape_of(machine: Machine) -> Shape:
    """The machine's shape, made at the first question."""
    engine = getattr(machine.vcpu, "engine", None)
    if engine is None:
        raise SnapshotError(f"the engine {type(machine.vcpu).__name__} has no state that could be kept")
    options = {**machine.options, **engine_sizes(machine.options, machine.memory.size_bytes)}
    return Shape(
        machine.technique.name,
        machine.memory.size_bytes,
        engine,
        {name: value for name, value in options.items() if value is not None},
        {member.plugin.name: getattr(member.plugin, "version", "") for member in machine.members},
        dict(machine.call_numbers),
        None if machine.grants is None else tuple(sorted(machine.grants)),
        dict(machine.quotas),
    )


def take(machine: Machine) -> Snapshot:
    """The machine as it is; its memory is shared with the snapshot from here on. Raises SnapshotError, OSError."""
    shape = machine.shape()
    try:
        state = {name: save(machine) for name, (save, _) in PARTS.items()}
    except SnapshotError:
        raise
    except ValueError as error:  # a part that has no state to save
        raise SnapshotError(f"there is no snapshot to take: {error}") from error
    file, memory, tables = PageFile(), machine.memory.pages, machine.vcpu.pages
    frozen = memory.freeze(file, 0), tables.freeze(file, memory.size_bytes)
    outcome = machine.outcome
    ending = None
    if outcome is not None:
        ending = Ending(outcome.why.name, outcome.status, outcome.detail, outcome.seconds)
    return Snapshot(shape, state, *frozen, ending)


def put_back(machine: Machine, snapshot: Snapshot) -> None:
    """Make the machine what the snapshot holds. Raises SnapshotError, and then the machine is as it was."""
    if snapshot.shape is not machine.shape():
        refuse_difference(machine.shape(), snapshot.shape)
    if machine.outcome is not None and machine.outcome.why is StopWhy.ENGINE_ABORT:
        raise SnapshotError("the engine of this machine has ended; Machine.from_snapshot() makes a new one")
    if snapshot.trusted:
        _put(machine, snapshot)
        return
    before = take(machine)
    try:
        machine.vcpu.check(snapshot.state["processor"], snapshot.tables, snapshot.state["guest"] is True)
        _put(machine, snapshot)
    except SnapshotError:
        _put(machine, before)
        raise
    except ValueError as error:  # a part's own words on a state that it cannot have
        _put(machine, before)
        raise SnapshotError(f"the snapshot cannot be put back: {error}") from error
    except (
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
    ) as error:  # a value of a kind that no part would save
        _put(machine, before)
        raise SnapshotError(f"the snapshot cannot be put back: a part of it is of the wrong kind ({error})") from error


def _put(machine: Machine, snapshot: Snapshot) -> None:
    changed = machine.memory.pages.restore(snapshot.memory)
    machine.vcpu.pages.restore(snapshot.tables)
    machine.vcpu.forget_code(changed)
    settle(machine, snapshot)


def settle(machine: Machine, snapshot: Snapshot) -> None:
    """Put back all but the pages, which a new machine was made with."""
    machine.clock.forget()
    state = snapshot.state
    for name, (_, restore) in PARTS.items():
        restore(machine, state[name])
    machine.clock.restore(state["clock"])
    machine.outcome = None if snapshot.ending is None else outcome_of(machine, snapshot.ending)


def outcome_of(machine: Machine, ending: Ending) -> Outcome:
    """The outcome that a machine had, from what it counted."""
    return make_outcome(
        machine.vcpu,
        (StopWhy[ending.why], ending.status or 0, ending.detail),
        call_names={number: name for name, number in machine.call_numbers.items()},
        console=machine.console.text,
        seconds=ending.seconds,
        timed=False,
    )


def refuse_difference(machine: Shape, snapshot: Shape) -> None:
    """Raises SnapshotError naming the first thing in which two shapes differ."""
    for what, wanted in DIFFERENCES.items():
        theirs, ours = getattr(snapshot, what), getattr(machine, what)
        if theirs == ours:
            continue
        if isinstance(theirs, Mapping):
            name = min(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
            theirs, ours, wanted = theirs.get(name, "none"), ours.get(name, "none"), f"{wanted} {name!r}"
        raise SnapshotError(f"the snapshot is of a machine with {wanted} {theirs}; this one has {ours}")


DIFFERENCES: Final = {
    "technique": "technique", "memory_bytes": "bytes of memory", "engine": "engine", "options": "option",
    "plugins": "plugin version", "calls": "hypercall number", "grants": "grants", "quotas": "quota",
}  # fmt: skip


# ---- parts ----


def _save_plugins(machine: Machine) -> dict[str, bytes]:
    """What each plugin keeps, as msgpack: nobody can change it afterwards."""
    saved = {}
    for member in machine.members:
        name, hook = member.plugin.name, getattr(member.plugin, "on_save", None)
        kept = machine.state.get(name)
        if hook is None:
            if kept is not None:
                raise SnapshotError(
                    f"plugin {member.source} keeps state for its machine and cannot save it; "
                    "give it on_save and on_restore, or leave it out with disabled_plugins="
                )
            continue
        try:
            saved[name] = msgpack.packb(hook(kept))
        except (TypeError, ValueError, OverflowError) as error:
            raise SnapshotError(f"plugin {member.source} saves what msgpack cannot hold: {error}") from error
    return saved


def _restore_plugins(machine: Machine, saved: Mapping[str, bytes]) -> None:
    for member in machine.members:
        hook = getattr(member.plugin, "on_restore", None)
        if hook is None:
            continue
        data = saved.get(member.plugin.name)
        if not isinstance(data, bytes):
            raise SnapshotError(f"the snapshot has no state of plugin {member.source}")
        try:
            hook(machine.for_plugins, msgpack.unpackb(data, strict_map_key=False))
        except Exception as error:  # a stranger's code, or a stranger's data: whose it is must be said
            raise SnapshotError(f"plugin {member.source} cannot take its state back: {describe(error)}") from error


def _save_disks(machine: Machine) -> list[dict[str, Any]]:
    for disk in machine.disks:
        if disk.mode == "rw":
            raise SnapshotError(
                f"disk {disk.path} is written in place, so it cannot be put back; give it mode cow for snapshots"
            )
    return [disk.save() for disk in machine.disks]


def _restore_disks(machine: Machine, saved: list[dict[str, Any]]) -> None:
    if len(saved) != len(machine.disks):
        raise SnapshotError(f"the snapshot is of a machine with {len(saved)} disks; this one has {len(machine.disks)}")
    for disk, state in zip(machine.disks, saved, strict=True):
        disk.restore(state)


def _save_quotas(machine: Machine) -> dict[str, list[int]]:
    return {name: list(used) for name, used in machine.quota_usage.items()}


def _restore_quotas(machine: Machine, saved: Mapping[str, list[int]]) -> None:
    for name, used in machine.quota_usage.items():
        before = saved.get(name)
        if not isinstance(before, list) or len(before) != 2 or not all(type(one) is int for one in before):
            raise SnapshotError(f"the snapshot has no use of quota {name!r}")
        used[:] = before


def _restore_board(machine: Machine, saved: dict[str, Any] | None) -> None:
    if machine.pc is not None:
        machine.pc.restore(saved or {})


def _restore_guest(machine: Machine, saved: Any) -> None:
    machine.has_guest = saved is True


def _restore_clock(machine: Machine, saved: Any) -> None:  # noqa: ARG001 (a part's signature; settle() does it last)
    if type(saved) is not int or saved < 0:
        raise SnapshotError("the snapshot's clock has counted no timers")


Part = tuple[Callable[["Machine"], Any], Callable[["Machine", Any], None]]


def _saver(name: str) -> Callable[[Machine], Any]:
    """What saves the attribute `name` of a machine; None where it has none."""

    def save(machine: Machine) -> Any:
        part = getattr(machine, name)
        return None if part is None else part.save()

    return save


def _restorer(name: str) -> Callable[[Machine, Any], None]:
    def restore(machine: Machine, saved: Any) -> None:
        if not isinstance(saved, dict):
            raise SnapshotError(f"the snapshot has no {name}")
        getattr(machine, name).restore(saved)

    return restore


def _save_guest(machine: Machine) -> bool:
    return machine.has_guest


PARTS: Final[Mapping[str, Part]] = {  # in the order in which they are put back: the processor has the time
    "processor": (_saver("vcpu"), _restorer("vcpu")),
    "registers": (_saver("system"), _restorer("system")),
    "console": (_saver("console"), _restorer("console")),
    "board": (_saver("pc"), _restore_board),
    "disks": (_save_disks, _restore_disks),
    "quotas": (_save_quotas, _restore_quotas),
    "plugins": (_save_plugins, _restore_plugins),
    "guest": (_save_guest, _restore_guest),
    "clock": (_saver("clock"), _restore_clock),
}
