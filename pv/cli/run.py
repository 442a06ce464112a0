"""`pvkit run`: one guest, its console on stdout, its exit status as the command's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from pv.cli.complaint import Complaint, check_engine
from pv.exits import StopWhy
from pv.machine import Machine
from pv.outcome import Outcome, format_record
from pv.stats import format_table, stat_rows

BUDGET_STATUS: Final = 124  # as timeout(1) has it
ABNORMAL_STATUS: Final = 125
STATUSES: Final = {StopWhy.HALTED: 0, StopWhy.TIMEOUT: BUDGET_STATUS, StopWhy.MAX_EXITS: BUDGET_STATUS}


def run(
    guest: Annotated[Path, typer.Argument(help="An ELF or flat image.", metavar="GUEST")],
    technique: Annotated[str, typer.Option(help="How privileged code is run: paravirt, trap.")] = "paravirt",
    memory: Annotated[str, typer.Option(help="Guest memory, such as 16MiB.")] = "16MiB",
    trace: Annotated[bool, typer.Option("--trace", help="Write a line for each exit to stderr.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    max_exits: Annotated[int | None, typer.Option(help="Stop after so many exits.")] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Write exit counts and times to stderr.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to run where a plugin fails to import.")] = False,
    no_plugin: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Leave out a plugin; repeatable.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show an abnormal stop's flight record.")] = False,
) -> None:
    """Run GUEST. Exits with its status; 124 for a used-up budget, 125 for an abnormal stop, 2 for bad input."""
    check_budget("--timeout", timeout)
    check_budget("--max-exits", max_exits)
    image = read_guest(guest)
    check_engine()
    machine = make_machine(memory, technique, trace, stats, strict, no_plugin or [])
    with machine:
        machine.load(image)
        outcome = machine.run(timeout=timeout, max_exits=max_exits)
    sys.stdout.flush()
    report(outcome, machine.notes, stats=stats, verbose=verbose)
    raise typer.Exit(exit_status(outcome))


def check_budget(option: str, value: float | None) -> None:
    """Raises Complaint for a budget that is not above 0."""
    if value is not None and not value > 0:
        raise Complaint(f"{option} {value:g} is not above 0")


def read_guest(guest: Path) -> bytes:
    """The image. Raises Complaint where it cannot be read."""
    try:
        return guest.read_bytes()
    except OSError as refused:
        raise Complaint(f"cannot read {guest}: {refused.strerror}") from refused


def make_machine(memory: str, technique: str, trace: bool, timed: bool, strict: bool, disabled: list[str]) -> Machine:
    """The machine. Raises Complaint for what a person can have got wrong: size, technique, plugin names."""
    try:
        return Machine(
            memory=memory,
            technique=technique,
            console=echo,
            trace=sys.stderr if trace else None,
            time_exits=timed,
            strict=strict,
            disabled_plugins=disabled,
        )
    except ValueError as mistake:
        raise Complaint(str(mistake)) from mistake
    except OSError as refused:
        raise Complaint(f"cannot have {memory} of guest memory: {refused.strerror}") from refused


def echo(data: bytes) -> None:
    """Pass the guest's console on as it comes."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def report(outcome: Outcome, notes: list[str], *, stats: bool, verbose: bool) -> None:
    """What the guest's console does not say, on stderr."""
    if stats:
        print(format_table(stat_rows(outcome.by_key, outcome.latencies)), file=sys.stderr)
    if not outcome.ok:
        print(f"pvkit: {outcome.summary}", file=sys.stderr)
        for note in notes:  # what may be why
            print(f"pvkit: {note}", file=sys.stderr)
        if verbose and outcome.record:
            print(format_record(outcome.record), file=sys.stderr)


def exit_status(outcome: Outcome) -> int:
    """The command's exit code."""
    if outcome.why is StopWhy.EXITED and outcome.status is not None:
        return outcome.status & 0xFF
    return STATUSES.get(outcome.why, ABNORMAL_STATUS)
