"""`pvkit check`: one guest under every technique that can run it, held together; the first difference is named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

import bench.compare as harness
from bench.disks import workload_disks
from pv.check import Ignored, Run, Verdict, able_techniques
from pv.check import check as check_run
from pv.check.report import lines
from pv.check.state import REGISTERS
from pv.check.timing import TIMING_DEVICES, read_ignored
from pv.cli.complaint import Complaint, check_engine
from pv.cli.run import check_budget, read_image
from pv.cli.screen import mention, say
from pv.loaders import LoadError
from pv.plugin import foreign_plugins
from pv.techniques import technique as find_technique

WORKLOAD: Final = "workload:"
SCALE_MOST: Final = 500.0
DEVICES: Final = (*sorted(TIMING_DEVICES), "COM1", "ATA data", "ATA registers", "ATA control", "unassigned ports")


def check(
    guest: Annotated[
        str | None,
        typer.Argument(metavar="GUEST", help="An ELF or flat image, or workload:NAME for one of compare's workloads."),
    ] = None,
    all_workloads: Annotated[bool, typer.Option("--all-workloads", help="Check every workload.")] = False,
    techniques: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Of those that can run the guest; default all.")
    ] = None,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Guest memory, such as 16MiB.")] = "16MiB",
    disk: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:MODE]", help="A disk; repeatable. MODE: ro, or cow.")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Most for each run.")] = 300.0,
    max_exits: Annotated[int | None, typer.Option(metavar="N", help="Most for each run.")] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="Leave out GPA+SIZE, a symbol, a device or a register; repeatable."),
    ] = None,
    scale: Annotated[float, typer.Option(metavar="FACTOR", help="Multiply a workload's number of operations.")] = 0.1,
) -> None:
    """Run a guest under all techniques; name the first difference.

    Exit codes: 0 where they are equal, 1 where they differ or a run did not end, 2 for bad input.
    """
    check_budget("--timeout", timeout)
    check_budget("--max-exits", max_exits)
    if not 0 < scale <= SCALE_MOST:
        raise Complaint(f"--scale {scale:g} is not a number above 0, at most {SCALE_MOST:g}")
    if all_workloads == (guest is not None):
        raise Complaint("give one guest, or workload:NAME, or --all-workloads")
    check_disks(disk or ())
    check_engine()
    names = harness.WORKLOADS if all_workloads else workload_names(guest or "")
    equal = True
    for name in names:
        if len(names) > 1:
            say(f"{name}:")
        equal &= check_workload(name, scale, techniques, memory, timeout, max_exits, ignore or ())
    if not names:
        run = Run(read_image(Path(guest or "")), memory, tuple(disk or ()), timeout, max_exits)
        equal = show(verdict_on(run, chosen(run, techniques), ignore or ()))
    if not equal:
        raise typer.Exit(1)


def workload_names(guest: str) -> tuple[str, ...]:
    """The workload that `guest` names, none where it is a file. Raises UnknownName."""
    if not guest.startswith(WORKLOAD):
        return ()
    return harness.check_names("workload", (guest.removeprefix(WORKLOAD),), harness.WORKLOADS)


def check_workload(
    name: str,
    scale: float,
    techniques: str | None,
    memory: str,
    timeout: float,
    max_exits: int | None,
    ignore: Sequence[str],
) -> bool:
    """The unmodified half under every technique that can run it, and what both halves of the pair print."""
    modules = {technique: harness.find_workload(name, technique) for technique in ("trap", "paravirt")}
    operations = max(1, round(modules["trap"].DEFAULT_OPERATIONS * scale))
    disks = tuple(workload_disks())
    verdicts = {}
    for half, module in modules.items():
        run = Run(module.build(operations), memory, disks, timeout, max_exits, foreign_plugins())
        able = able_techniques(run.image, memory)
        if techniques is not None and half == "paravirt" and "paravirt" not in techniques.split(","):
            continue
        wanted = able if techniques is None else [one for one in techniques.split(",") if one in able] or able
        verdicts[half] = verdict_on(run, wanted, ignore if half == "trap" else ())
    shown = [show(verdict) for verdict in verdicts.values()]
    printed = {half: verdict.observations[0].outcome.console for half, verdict in verdicts.items()}
    if len(set(printed.values())) > 1:
        say("different: the paravirtual half printed " + repr(printed["paravirt"][-60:]))
        say("           the unmodified half printed  " + repr(printed["trap"][-60:]))
        return False
    if len(printed) > 1:
        say("both halves of the pair print the same")
    return all(shown)


def verdict_on(run: Run, techniques: Sequence[str], ignore: Sequence[str]) -> Verdict:
    """The verdict. Raises Complaint for what a person can have got wrong."""
    try:
        ignored: Ignored = read_ignored(ignore, run.image, REGISTERS, DEVICES)
        return check_run(run, techniques, ignored, tell)
    except LoadError:
        raise
    except ValueError as mistake:
        raise Complaint(str(mistake)) from mistake
    except OSError as refused:
        raise Complaint(f"cannot have {run.memory} of guest memory: {refused.strerror}") from refused
    except MemoryError as refused:
        raise Complaint(f"cannot make the machine: {refused or 'no memory'}") from refused


def chosen(run: Run, techniques: str | None) -> tuple[str, ...]:
    """The techniques to run. Raises Complaint for a name that is none, or of one that cannot run the guest."""
    try:
        able = able_techniques(run.image, run.memory)
        if techniques is None:
            return able
        names = tuple(dict.fromkeys(name for name in techniques.split(",") if name))
        for name in names:
            find_technique(name)
    except LoadError:
        raise
    except ValueError as mistake:
        raise Complaint(str(mistake)) from mistake
    if not names:
        raise Complaint("--techniques names none")
    for name in names:
        if name not in able:
            raise Complaint(f"technique {name!r} cannot run this guest: {', '.join(able)} can")
    return names


def check_disks(disks: Sequence[str]) -> None:
    """Raises Complaint for a disk that a run would change under the next."""
    for disk in disks:
        if disk.endswith(":rw"):
            raise Complaint(f"--disk {disk}: what one run writes the next would read; give it mode cow")


def tell(technique: str) -> None:
    """Say on a terminal what runs now."""
    if sys.stderr.isatty():
        mention(f"pvkit: running under {technique}")


def show(verdict: Verdict) -> bool:
    """Print the report; whether all agree."""
    for line in lines(verdict):
        say(line)
    return verdict.equal
