"""`pvkit batches`: what one operation costs and how many exits it takes, by the batch it is in; as a picture, too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import track

from bench.batch_plot import NoPlot, as_json, check_plot, draw, price_table
from bench.batches import BATCHES, disk_file, price
from pv.cli.compare import check_writable, write_json
from pv.cli.complaint import Complaint, check_engine
from pv.cli.screen import say

FORMATS: Final = (".svg", ".png", ".pdf")


def batches(
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Draw the rows into FILE: {', '.join(FORMATS)}.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the rows to FILE; - is stdout.")
    ] = None,
    repeat: Annotated[int, typer.Option(metavar="N", help="Runs of each, of which the least time counts.")] = 3,
) -> None:
    """Price calls and block reads: alone, in multicalls and rings.

    Batches are of 1, 8, 64 and 512. Own exits: what the guest of the busy ring takes without the ring.
    """
    if repeat < 1:
        raise Complaint(f"--repeat {repeat} is less than 1")
    if plot is not None:
        check_picture(plot)
    if json_file is not None and str(json_file) != "-":
        check_writable(json_file)
    check_engine()
    with disk_file() as disk:
        screen = Console(stderr=True)
        rows = track(BATCHES, "pricing", console=screen, transient=True, disable=not sys.stderr.isatty())
        prices = [price(row, disk, repeat) for row in rows]
    if str(json_file) == "-":
        say(json.dumps(as_json(prices), indent=1))
    else:
        say(price_table(prices))
        if json_file is not None:
            write_json(json_file, as_json(prices))
    if plot is not None:
        try:
            draw(prices, plot)
        except OSError as refused:
            raise Complaint(f"cannot write {plot}: {refused.strerror}") from refused


def check_picture(file: Path) -> None:
    """Raises Complaint where no picture could be drawn into `file`."""
    if file.suffix not in FORMATS:
        raise Complaint(f"cannot draw {file}: a name that ends in {', '.join(FORMATS)} says in which format")
    check_writable(file)
    try:
        check_plot()
    except NoPlot as missing:
        raise Complaint(str(missing)) from missing
