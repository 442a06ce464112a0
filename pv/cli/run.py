"""`pvkit run`: one guest, its console on stdout, its exit status as the command's own."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pv.cli.choices import (
    Grants,
    Intercept,
    NoPlugin,
    Options,
    Quotas,
    Strict,
    intercepts,
    read_options,
    read_quotas,
)  # fmt: skip
from pv.cli.complaint import INTERRUPTED_STATUS, Complaint, check_engine
from pv.cli.screen import columns, echo, mention
from pv.exits import StopWhy
from pv.loaders import LoadError, read_guest
from pv.machine import Machine
from pv.outcome import Outcome, format_record
from pv.report.cache import format_cache
from pv.stats import format_table, stat_rows

Console = Callable[[bytes], object]
BUDGET_STATUS: Final = 124  # as timeout(1) has it
ABNORMAL_STATUS: Final = 125
PANIC_STATUS: Final = 134  # what a shell shows of a program that called abort()
STATUSES: Final = {
    StopWhy.HALTED: 0,
    StopWhy.TIMEOUT: BUDGET_STATUS,
    StopWhy.MAX_EXITS: BUDGET_STATUS,
    StopWhy.PANICKED: PANIC_STATUS,
}


def run(
    guest: Annotated[Path, typer.Argument(help="An ELF or flat image.", metavar="GUEST")],
    technique: Annotated[
        str,
        typer.Option(metavar="NAME", help="paravirt; for unmodified guests trap, translate, hardware, hardware-apicv."),
    ] = "paravirt",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Guest memory, such as 16MiB.")] = "16MiB",
    isolation: Annotated[
        str, typer.Option(metavar="HOW", help="none, or process: an engine that crashes ends the run, not the command.")
    ] = "none",
    trace: Annotated[bool, typer.Option("--trace", help="Write a line for each exit to stderr.")] = False,
    disk: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:MODE]", help="A disk; repeatable. MODE: ro, rw, or cow (writes are forgotten)."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after so many seconds.")] = None,
    max_exits: Annotated[int | None, typer.Option(metavar="N", help="Stop after so many exits.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Write exit counts and times to stderr.")] = False,
    strict: Strict = False,
    no_plugin: NoPlugin = None,
    option: Options = None,
    intercept: Intercept = None,
    grant: Grants = None,
    quota: Quotas = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show an abnormal stop's flight record.")] = False,
    snapshot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the machine to FILE when it stops, for pvkit resume.")
    ] = None,
) -> None:
    """Run a guest and exit with its status.

    Other exit codes: 124 for a used-up budget of time or exits, 125 for an abnormal stop, 134 for a guest that
    panicked, 2 for bad input.
    """
    check_budget("--timeout", timeout)
    check_budget("--max-exits", max_exits)
    image = read_image(guest)
    check_engine()
    machine = make_machine(
        isolation=isolation,
        memory=memory,
        technique=technique,
        trace=mention if trace else None,
        time_exits=stats,
        strict=strict,
        disabled_plugins=no_plugin or [],
        options=read_options(option or [], technique, no_plugin or [], strict) | intercepts(intercept),
        grants=grant,
        quotas=read_quotas(quota or []),
        disks=disk or [],
    )
    with machine:
        try:
            machine.load(image)
        except LoadError as refused:
            raise Complaint(f"{guest}: {refused}") from refused
        status = run_on(machine, timeout, max_exits, stats=stats, verbose=verbose, snapshot=snapshot)
    raise typer.Exit(status)  # once the machine is closed: a plugin that cannot be torn down says so first


def run_on(
    machine: Machine,
    timeout: float | None,
    max_exits: int | None,
    *,
    stats: bool,
    verbose: bool,
    snapshot: Path | None,
) -> int:
    """Run until something ends it, say what, keep the machine if that was asked for, and give the command's status."""
    with interrupt_stops(machine) as interrupts:
        try:
            outcome = machine.run(timeout=timeout, max_exits=max_exits)
        except SystemExit as left:  # it would end us without a word, with what looks like a guest's status
            raise RuntimeError("a handler called sys.exit(); machine.stop() ends a run") from left
    if snapshot is not None:
        keep(machine, snapshot)
    report(outcome, machine.notes, stats=stats, verbose=verbose)
    return INTERRUPTED_STATUS if interrupts else exit_status(outcome)


def keep(machine: Machine, snapshot: Path) -> None:
    """Write the machine to a file. Raises SnapshotError, and Complaint where the file cannot be written."""
    try:
        machine.snapshot().save(snapshot)
    except OSError as refused:
        raise Complaint(f"cannot write {snapshot}: {refused.strerror}") from refused


def check_budget(option: str, value: float | None) -> None:
    """Raises Complaint for a budget that is not above 0."""
    if value is not None and not value > 0:
        raise Complaint(f"{option} {value:g} is not above 0")


def read_image(guest: Path) -> bytes:
    """The image. Raises Complaint where it cannot be read, LoadError for what is no file."""
    try:
        return read_guest(guest)
    except OSError as refused:
        raise Complaint(f"cannot read {guest}: {refused.strerror}") from refused


def make_machine(*, memory: str, console: Console = echo, **choices: Any) -> Machine:
    """The machine. console: who gets what the guest prints.

    Raises Complaint for what a person can have got wrong: size, technique, names, values.
    """
    try:
        return Machine(memory=memory, console=console, **choices)
    except ValueError as mistake:
        raise Complaint(str(mistake)) from mistake
    except OSError as refused:
        raise Complaint(f"cannot have {memory} of guest memory: {refused.strerror}") from refused
    except MemoryError as refused:
        raise Complaint(f"cannot make the machine: {refused or 'no memory'}") from refused


@contextmanager
def interrupt_stops(machine: Machine) -> Iterator[list[int]]:
    """Let the first Ctrl-C stop the machine, so that what was counted is shown; the next one ends the process.

    Gives the interrupts that came. Signals are the main thread's; on another nothing changes.
    """
    interrupts: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, _frame: object) -> None:
        interrupts.append(number)
        signal.signal(signal.SIGINT, before)
        machine.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


def report(outcome: Outcome, notes: list[str], *, stats: bool, verbose: bool) -> None:
    """What the guest's console does not say, on stderr."""
    if stats:
        mention(format_table(stat_rows(outcome.by_key, outcome.latencies), columns(sys.stderr)))
        if outcome.translation:
            mention(f"\n{format_cache(outcome.translation)}")
    if not outcome.ok:
        mention(f"pvkit: {outcome.summary}")
        for note in notes:  # what may be why
            mention(f"pvkit: {note}")
        if verbose and outcome.record:
            mention(format_record(outcome.record))


def exit_status(outcome: Outcome) -> int:
    """The command's exit code."""
    if outcome.why is StopWhy.EXITED and outcome.status is not None:
        return outcome.status & 0xFF
    return STATUSES.get(outcome.why, ABNORMAL_STATUS)
