"""`pvkit compare`: every workload under each technique, counted, timed, and shown side by side."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import bench.compare as harness
from pv.cli.complaint import Complaint, check_engine
from pv.cli.screen import columns, mention, say
from pv.report.comparison import WELL, WIDTH, ComparisonRow, as_json, comparison_table, verdict

SCALE_MOST: Final = 500.0  # beyond it a workload would not end today


def compare(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORKLOAD", help=f"Of {', '.join(harness.WORKLOADS)}; default all."),
    ] = None,
    technique: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Of {', '.join(harness.PACKAGES)}; may be given again; default all."),
    ] = None,
    scale: Annotated[
        float, typer.Option(metavar="FACTOR", help="Multiply each workload's number of operations.")
    ] = 1.0,
    repeat: Annotated[int, typer.Option(metavar="N", help="Runs of each, of which the median time counts.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the rows to FILE; - is stdout.")
    ] = None,
) -> None:
    """Run workloads under each technique; compare exits and times."""
    if not 0 < scale <= SCALE_MOST:
        raise Complaint(f"--scale {scale:g} is not a number above 0, at most {SCALE_MOST:g}")
    if repeat < 1:
        raise Complaint(f"--repeat {repeat} is less than 1")
    names = harness.check_names("workload", workloads or (), harness.WORKLOADS)
    techniques = harness.check_names("technique", technique or (), tuple(harness.PACKAGES))
    if json_file is not None and str(json_file) != "-":
        check_writable(json_file)
    check_engine()
    rows = measure(names, techniques, scale, repeat)
    if str(json_file) == "-":
        say(json.dumps(as_json(rows), indent=1))
    else:
        say(comparison_table(rows, columns(sys.stdout) or WIDTH))
        if json_file is not None:
            write_json(json_file, as_json(rows))
    wrong = [row for row in rows if row.ended != WELL or row.agrees is False]
    for row in wrong:
        mention(f"pvkit: {row.workload} under {row.technique}: {verdict(row)}: {row.result or 'it printed nothing'}")
    if wrong:
        raise typer.Exit(1)


def measure(names: tuple[str, ...], techniques: tuple[str, ...], scale: float, repeat: int) -> list[ComparisonRow]:
    """Run the comparison under a progress bar, which shows itself on a terminal's stderr only."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    stderr = Console(stderr=True)
    with Progress(*columns, console=stderr, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=len(names) * len(techniques) * repeat)
        started = 0

        def show(workload: str, technique: str) -> None:
            nonlocal started
            progress.update(task, description=f"{workload} · {technique}", completed=started)
            started += 1

        return harness.compare(names, techniques, scale=scale, repeat=repeat, on_run=show)


def check_writable(file: Path) -> None:
    """Raises Complaint where `file` cannot be written, before minutes are spent on what goes into it."""
    if file.is_dir():
        raise Complaint(f"cannot write {file}: Is a directory")
    if not file.parent.is_dir():
        raise Complaint(f"cannot write {file}: No such file or directory")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise Complaint(f"cannot write {file}: Permission denied")


def write_json(file: Path, content: object) -> None:
    """Write `content` as JSON. Raises Complaint where the file cannot be written."""
    try:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as refused:
        raise Complaint(f"cannot write {file}: {refused.strerror}") from refused
