"""How does one machine become many moments and many machines? The verbs of pv.machine.Machine for snapshots.

What a snapshot is, and how each part of a machine is saved and put back, stands in pv.snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pv.disk import Disk
from pv.snapshot import Shape, Snapshot, SnapshotError, put_back, refuse_difference, settle, shape_of, take
from pv.trace import Sink

if TYPE_CHECKING:
    from pv.machine import Machine

SAVED_MODES: Final = ("ro", "cow")


class Branching:
    """A machine's verbs for snapshots. The machine says what it was made with, beside what a snapshot says."""

    _made_with: Mapping[str, Any]
    _wrapped: bool  # whether its handlers are wrapped by grants, quotas or a trace, which know this machine
    _shape: Shape | None = None

    def snapshot(self) -> Snapshot:
        """The machine as it is between two runs, to be restored, forked or saved to a file.

        Raises SnapshotError where a plugin or a disk cannot be put back, OSError where the host has no memory.
        """
        return take(self._still("snapshot()"))

    def restore(self, snapshot: Snapshot) -> None:
        """Become what `snapshot` holds, as often as wanted. Raises SnapshotError for one of another shape."""
        put_back(self._still("restore()"), snapshot)

    def fork(
        self,
        snapshot: Snapshot | None = None,
        *,
        console: Callable[[bytes], object] | None = None,
        trace: Sink | None = None,
    ) -> Machine:
        """A new machine that is what this one is now, or was at `snapshot`. Memory is shared until either writes it.

        console, trace: of the new machine; this one's are not shared.
        """
        machine = self._still("fork()")
        snapshot = take(machine) if snapshot is None else snapshot
        like = None if self._wrapped or trace is not None else machine
        child = _make(type(machine), snapshot, {"console": console, "trace": trace, **self._made_with}, like)
        child.take_image(machine.image)
        return child

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, **arguments: Any) -> Self:
        """A new machine at `snapshot`, which says memory, technique, options, grants, quotas and disks.

        arguments: what else Machine() takes; what the snapshot's machine had of hypercalls and plugins must be there.
        Raises SnapshotError, and what Machine() raises.
        """
        return cast(Self, _make(cast("type[Machine]", cls), snapshot, arguments, None))

    def shape(self) -> Shape:
        """What a snapshot's machine must have in common with this one."""
        if self._shape is None:
            self._shape = shape_of(cast("Machine", self))
        return self._shape

    def _still(self, what: str) -> Machine:
        """The machine, which does not run. Raises RuntimeError where it does, or is closed."""
        machine = cast("Machine", self)
        machine._check_open(what)
        if machine.isolation != "none":
            raise SnapshotError(
                f"{what}: with isolation={machine.isolation!r} the guest is in a process of its own, "
                "which has no snapshots; make the machine with isolation='none'"
            )
        if machine._running:
            raise RuntimeError(f"{what}: the machine is running; call it once run() has returned")
        return machine


def _make(kind: type[Machine], snapshot: Snapshot, arguments: Mapping[str, Any], like: Machine | None) -> Machine:
    """A new machine at `snapshot`, begun with its pages where nobody can have made them up."""
    shape, saved_disks = snapshot.shape, snapshot.state["disks"]
    if not isinstance(saved_disks, list):
        raise SnapshotError("the snapshot does not say which disks its machine had")
    disks = [_reopen(saved) for saved in saved_disks]
    try:
        machine = kind(
            memory=shape.memory_bytes, technique=shape.technique, options=shape.options, grants=shape.grants,
            quotas=shape.quotas, disks=disks, _snapshot=snapshot if snapshot.trusted else None, _like=like, **arguments,
        )  # fmt: skip
    except BaseException:
        _close(disks)
        raise
    machine.own(disks)
    try:
        if not snapshot.trusted:
            put_back(machine, snapshot)
        else:
            if (like is None or like.shape() is not shape) and machine.shape() != shape:
                refuse_difference(machine.shape(), shape)
            machine._shape = shape  # this very one: snapshots then know each other at sight
            settle(machine, snapshot)
    except BaseException:
        machine.close()
        raise
    return machine


def _reopen(saved: Any) -> Disk:
    """The disk of a saved state, once more. Raises SnapshotError, DiskError."""
    path, mode = (saved.get("path"), saved.get("mode")) if isinstance(saved, dict) else (None, None)
    if not isinstance(path, str) or mode not in SAVED_MODES:
        raise SnapshotError("the snapshot has a disk that is none")
    return Disk(path, mode)


def _close(disks: Iterable[Disk]) -> None:
    for disk in disks:
        disk.close()
