"""`pvkit resume`: a machine goes on from the file in which `pvkit run --snapshot` left it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pv.cli.complaint import Complaint, check_engine
from pv.cli.run import check_budget, run_on
from pv.cli.screen import echo, mention
from pv.machine import Machine
from pv.snapshot import Snapshot, SnapshotError


def resume(
    file: Annotated[Path, typer.Argument(help="What --snapshot wrote.", metavar="FILE")],
    trace: Annotated[bool, typer.Option("--trace", help="Write a line for each exit to stderr.")] = False,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after so many seconds.")] = None,
    max_exits: Annotated[int | None, typer.Option(metavar="N", help="Stop after so many further exits.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Write exit counts and times to stderr.")] = False,
    no_plugin: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Leave out a plugin; repeatable.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show an abnormal stop's flight record.")] = False,
    snapshot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the machine to FILE when it stops again.")
    ] = None,
) -> None:
    """Go on from a snapshot, and exit with the guest's status.

    The file says technique, memory, grants and disks; counts go on from where they were. Exit codes as of run.
    """
    check_budget("--timeout", timeout)
    check_budget("--max-exits", max_exits)
    try:
        kept = Snapshot.load(file)
    except OSError as refused:
        raise Complaint(f"cannot read {file}: {refused.strerror}") from refused
    check_engine()
    try:
        machine = Machine.from_snapshot(
            kept, console=echo, trace=mention if trace else None, time_exits=stats, disabled_plugins=no_plugin or []
        )
    except SnapshotError as refused:
        raise Complaint(f"{file}: {refused}") from refused
    except ValueError as mistake:
        raise Complaint(str(mistake)) from mistake
    except OSError as refused:
        raise Complaint(f"cannot have the memory of {file}: {refused.strerror}") from refused
    with machine:
        if machine.outcome is not None and not machine.outcome.resumable:
            raise Complaint(f"{file}: the guest has ended: {machine.outcome.summary}")
        if not machine.has_guest:
            raise Complaint(f"{file}: there was no guest in the machine yet")
        status = run_on(machine, timeout, max_exits, stats=stats, verbose=verbose, snapshot=snapshot)
    raise typer.Exit(status)
