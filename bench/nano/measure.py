"""How is a row measured? Two counts of operations for exact exits, and a run long enough for its time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.compare import MEMORY, TIMEOUT_S, Run, how_it_ended
from bench.nano import paravirt, unmodified
from bench.nano.native import run_native
from bench.nano.rows import NATIVE, PARAVIRT, ROWS, NanoRow
from pv.machine import Machine
from pv.plugin import foreign_plugins
from pv.report.comparison import WELL
from pv.report.nano import NanoCell
from pv.techniques import TECHNIQUES

FEW, MORE = 1024, 2048  # operations of the runs that are counted
CONSOLE_PORTS: Final = ("port 0x3f8", "port 0x3fd")  # COM1's data and its status, as keys of exits begin
LENGTHS: Final = (8_192, 65_536, 524_288, 4_194_304)  # of the timed run: the first that takes ENOUGH_S
ENOUGH_S: Final = 0.02
COLUMNS: Final = (NATIVE, *TECHNIQUES)


@dataclass
class Images:
    """The guests of one row, each built once: all but paravirt's are the same bytes."""

    name: str

    def __post_init__(self) -> None:
        self.built: dict[tuple[bool, int], bytes] = {}

    def get(self, column: str, operations: int) -> bytes:
        key = column == PARAVIRT, operations
        if key not in self.built:
            self.built[key] = (paravirt if key[0] else unmodified).build(self.name, operations)
        return self.built[key]


def run_column(image: bytes, column: str) -> Run:
    """One run. Exits that print the result are left out: they are as many as it has digits."""
    if column == NATIVE:
        seconds, console, ended = run_native(image, MEMORY)
        return Run(seconds, {}, console, ended)
    with Machine(memory=MEMORY, technique=column, disabled_plugins=foreign_plugins()) as machine:
        machine.load(image)
        outcome = machine.run(timeout=TIMEOUT_S)
    exits = dict(outcome.exits)
    for (reason, key), count in outcome.by_key.items():
        if key.startswith(CONSOLE_PORTS):
            exits[reason] -= count
    return Run(outcome.seconds, exits, outcome.console, how_it_ended(outcome))


def measure_rows(
    names: Sequence[str] = (),
    columns: Sequence[str] = COLUMNS,
    *,
    repeat: int = 3,
    timed: bool = True,
    on_run: Callable[[str, str], None] = lambda _row, _column: None,
) -> list[NanoCell]:
    """The cells of each row, all rows where none is named. timed=False counts exits alone."""
    chosen = [row for row in ROWS if row.name in names or not names]
    return [cell for row in chosen for cell in measure_row(row, columns, repeat, timed=timed, on_run=on_run)]


def measure_row(
    row: NanoRow,
    columns: Sequence[str],
    repeat: int = 3,
    *,
    timed: bool = True,
    on_run: Callable[[str, str], None] = lambda _row, _column: None,
) -> list[NanoCell]:
    """The cells of one row, in the order of `columns`, which take turns while they are timed."""
    images = Images(row.name)
    cells: dict[str, NanoCell] = {}
    for column in columns:
        if row.reason(column) is None:
            on_run(row.name, column)
            cells[column] = count_exits(row, column, images)
    well = all(cell.ended == WELL for cell in cells.values())
    agree = well and len({cell.result for cell in cells.values()}) <= 1
    if timed and well:
        for column, (operations, seconds) in time_columns(tuple(cells), images, repeat).items():
            cells[column] = replace(cells[column], operations=operations, seconds=seconds, repeats=repeat)
    return [
        replace(cells[column], agrees=agree if len(cells) > 1 else None)
        if column in cells
        else NanoCell(row.name, row.study, row.operation, column, row.reason(column))
        for column in columns
    ]


def count_exits(row: NanoRow, column: str, images: Images) -> NanoCell:
    """One row in one column, without its time."""
    few, more = (run_column(images.get(column, operations), column) for operations in (FEW, MORE))
    spent = {name: more.exits.get(name, 0) - few.exits.get(name, 0) for name in more.exits}
    return NanoCell(
        row=row.name,
        study=row.study,
        operation=row.operation,
        technique=column,
        exits_per_operation=sum(spent.values()) / (MORE - FEW),
        exits_by_reason={name: count / (MORE - FEW) for name, count in spent.items() if count},
        result=more.console.strip(),
        ended=next((run.ended for run in (few, more) if run.ended != WELL), WELL),
    )


def time_columns(columns: Sequence[str], images: Images, repeat: int) -> dict[str, tuple[int, float]]:
    """(operations, host seconds that they took) by column: a long run less one of FEW, medians of `repeat`."""
    lengths = {column: long_enough(column, images) for column in columns}
    short: dict[str, list[float]] = {column: [] for column in columns}
    long: dict[str, list[float]] = {column: [] for column in columns}
    for _ in range(repeat):
        for column in columns:
            short[column].append(run_column(images.get(column, FEW), column).seconds)
            long[column].append(run_column(images.get(column, lengths[column]), column).seconds)
    timed = {}
    for column in columns:
        set_up, whole = statistics.median(short[column]), statistics.median(long[column])
        # on a busy host a short run may seem the longer one: then what it takes is little beside the noise
        timed[column] = (lengths[column] - FEW, whole - set_up) if whole > set_up else (lengths[column], whole)
    return timed


def long_enough(column: str, images: Images) -> int:
    """The first of LENGTHS whose run takes ENOUGH_S, or the last."""
    for length in LENGTHS[:-1]:
        if run_column(images.get(column, length), column).seconds >= ENOUGH_S:
            return length
    return LENGTHS[-1]
