"""`pvkit compare`: every workload, or with --nano every single operation, under each technique, side by side."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import bench.compare as harness
import bench.nano.measure as nano_harness
from bench import shape_rules
from bench.nano.rows import NATIVE
from bench.nano.rows import ROWS as NANO_ROWS
from bench.shapes import figures_of_nano, figures_of_workloads, judge
from pv.cli.complaint import Complaint, check_engine
from pv.cli.screen import columns, mention, say
from pv.report.comparison import WELL, WIDTH, ComparisonRow, as_json, comparison_table, verdict
from pv.report.nano import nano_as_json, nano_markdown, nano_table
from pv.report.shapes import Verdict, shape_lines, shapes_as_json, shapes_as_markdown
from pv.report.side_by_side import markdown as side_by_side_markdown
from pv.report.side_by_side import side_by_side

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
    nano: Annotated[
        bool, typer.Option("--nano", help="Single operations in place of workloads, beside the engine alone.")
    ] = False,
    detail: Annotated[
        bool, typer.Option("--detail", help="A line a technique: all exits, their reasons, ratios.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the rows to FILE; - is stdout.")
    ] = None,
) -> None:
    """Run workloads under each technique; compare exits and times.

    It ends with the shapes of the literature that hold in this run, and why others do not.
    """
    if not 0 < scale <= SCALE_MOST:
        raise Complaint(f"--scale {scale:g} is not a number above 0, at most {SCALE_MOST:g}")
    if repeat < 1:
        raise Complaint(f"--repeat {repeat} is less than 1")
    check_choices(nano=nano, detail=detail, markdown=markdown, scale=scale)
    known = tuple(row.name for row in NANO_ROWS) if nano else harness.WORKLOADS
    names = harness.check_names("nanobenchmark" if nano else "workload", workloads or (), known)
    techniques = harness.check_names("technique", technique or (), tuple(harness.PACKAGES))
    if json_file is not None and str(json_file) != "-":
        check_writable(json_file)
    check_engine()
    found = measure_nano(names, techniques, repeat) if nano else measure_work(names, techniques, scale, repeat)
    if str(json_file) == "-":
        say(json.dumps(found.document, indent=1))
    elif markdown:
        say(f"{found.markdown}\n\n{shapes_as_markdown(found.verdicts)}")
    else:
        width = columns(sys.stdout) or WIDTH
        say(found.table(width, detail), *(["", shape_lines(found.verdicts, width)] if found.verdicts else []))
    if json_file is not None and str(json_file) != "-":
        write_json(json_file, found.document)
    for line in found.wrong:
        mention(f"pvkit: {line}")
    if found.wrong:
        raise typer.Exit(1)


def check_choices(*, nano: bool, detail: bool, markdown: bool, scale: float) -> None:
    """Raises Complaint for options that do not go together."""
    if nano and scale != 1.0:
        raise Complaint("--nano runs each row as often as its time needs: --scale is for workloads")
    for name, given in (("--nano", nano), ("--markdown", markdown)):
        if detail and given:
            raise Complaint(f"--detail and {name} do not go together: detail is a table of workloads on a terminal")


@dataclass(frozen=True)
class Found:
    """What a run of either kind has to show. table: by its width, and whether it is the detailed one."""

    document: dict[str, Any]
    markdown: str
    table: Callable[[int, bool], Any]
    verdicts: list[Verdict]
    wrong: list[str]


def measure_work(names: tuple[str, ...], techniques: tuple[str, ...], scale: float, repeat: int) -> Found:
    """Every workload under each technique."""
    rows = measure(names, techniques, scale, repeat)
    verdicts = judge(shape_rules.WORKLOADS, figures_of_workloads(rows))
    return Found(
        {**as_json(rows), "shapes": shapes_as_json(verdicts)},
        side_by_side_markdown(rows),
        lambda width, detail: comparison_table(rows, width) if detail else side_by_side(rows, width),
        verdicts,
        [
            f"{row.workload} under {row.technique}: {verdict(row)}: {row.result or 'it printed nothing'}"
            for row in rows
            if row.ended != WELL or row.agrees is False
        ],
    )


def measure_nano(names: tuple[str, ...], techniques: tuple[str, ...], repeat: int) -> Found:
    """Every single operation on the engine alone and under each technique."""
    shown = (NATIVE, *techniques)
    cells_to_come = sum(row.reason(column) is None for row in NANO_ROWS if row.name in names for column in shown)
    with progress_bar(cells_to_come) as show:
        cells = nano_harness.measure_rows(names, shown, repeat=repeat, on_run=show)
    verdicts = judge(shape_rules.NANO, figures_of_nano(cells))
    return Found(
        {"nano": nano_as_json(cells), "shapes": shapes_as_json(verdicts)},
        nano_markdown(cells),
        lambda width, _detail: nano_table(cells, width),
        verdicts,
        [
            f"{cell.row} under {cell.technique}: {cell.ended if cell.ended != WELL else 'differs'}: {cell.result}"
            for cell in cells
            if cell.ended != WELL or cell.agrees is False
        ],
    )


def measure(names: tuple[str, ...], techniques: tuple[str, ...], scale: float, repeat: int) -> list[ComparisonRow]:
    """Run the comparison under a progress bar."""
    with progress_bar(len(names) * len(techniques) * repeat) as show:
        return harness.compare(names, techniques, scale=scale, repeat=repeat, on_run=show)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str, str], None]]:
    """A function to call as each run of a row under a technique starts. It shows on a terminal's stderr only."""
    parts = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    stderr = Console(stderr=True)
    with Progress(*parts, console=stderr, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=total)
        started = 0

        def show(row: str, technique: str) -> None:
            nonlocal started
            progress.update(task, description=f"{row} · {technique}", completed=started)
            started += 1

        yield show


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
