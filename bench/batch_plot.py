"""The prices of batches as a table, and as a picture: time and exits of one operation over the size of its batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from bench.batches import OPERATIONS, SIZES, Priced

COLOURS: Final = {"null call": "tab:blue", "block read": "tab:orange"}
LINES: Final = {"multicall": ("-", "o"), "ring": ("--", "s")}  # of forms that come in sizes
LEVELS: Final = {"alone": ":", "busy ring": "-."}  # of those that have one
INSTALL: Final = "a plot needs matplotlib: pip install 'pvkit[plot]'"


class NoPlot(RuntimeError):
    """There is no matplotlib; the message says how to get it."""


def price_table(prices: Iterable[Priced]) -> Table:
    """The rows, those of one operation together."""
    table = Table(
        title="One operation, by the batch it is in",
        caption="exits: exact; those of the busy ring are its guest's own",
    )
    for heading in ("operation", "form"):
        table.add_column(heading, no_wrap=True)
    for heading in ("batch", "exits", "ns", "GB/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = None
    for priced in prices:
        batch = priced.batch
        if last not in (None, batch.operation):
            table.add_section()
        last = batch.operation
        rate = priced.gigabytes_per_second
        figures = f"{priced.exits_per_operation:.4g}", f"{priced.ns:,.0f}", "" if rate is None else f"{rate:.2f}"
        table.add_row(batch.operation, batch.form, str(batch.size), *figures)
    return table


def as_json(prices: Iterable[Priced]) -> list[dict[str, Any]]:
    """The rows for a file."""
    return [
        {
            "operation": priced.batch.operation,
            "form": priced.batch.form,
            "size": priced.batch.size,
            "exits_per_operation": priced.exits_per_operation,
            "ns_per_operation": priced.ns,
            "gigabytes_per_second": priced.gigabytes_per_second,
        }
        for priced in prices
    ]


def check_plot() -> None:
    """Raises NoPlot where a picture could not be drawn, before minutes are spent on what goes into it."""
    try:
        import matplotlib  # noqa: F401 (an extra: only who plots needs it)
    except ImportError as error:
        raise NoPlot(INSTALL) from error


def draw(prices: Sequence[Priced], file: Path) -> None:
    """Write the picture to `file`, whose suffix says in which format. Raises NoPlot, OSError, ValueError."""
    check_plot()
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(11, 6), layout="constrained")
    time, exits = figure.subplots(1, 2)
    for operation in OPERATIONS:
        rows = [priced for priced in prices if priced.batch.operation == operation]
        draw_time(time, operation, rows)
    draw_exits(exits, prices)
    for axes, title, unit in (
        (time, "What one operation costs", "µs an operation"),
        (exits, "Exits of one operation", "exits an operation"),
    ):
        axes.set(title=title, xlabel="operations in a batch", ylabel=unit, xscale="log", yscale="log")
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    time.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    figure.legend(
        *time.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small", frameon=False
    )
    figure.savefig(file, dpi=120)


def draw_time(axes: Any, operation: str, rows: Sequence[Priced]) -> None:
    """A line for each form that comes in sizes, a level for each that does not."""
    colour = COLOURS[operation]
    for form, (style, marker) in LINES.items():
        points = sorted((priced.batch.size, priced.ns / 1000) for priced in rows if priced.batch.form == form)
        if points:
            label = f"{operation}, {form}"
            axes.plot(*zip(*points, strict=True), style, marker=marker, color=colour, label=label)
    own = next((priced.ns for priced in rows if priced.batch.form == "own exits"), 0)
    for form, style in LEVELS.items():
        for priced in rows:
            if priced.batch.form == form:
                extra = own if form == "busy ring" else 0
                label = f"{operation}, {form}" + (" beyond its own exit" if extra else "")
                axes.axhline((priced.ns - extra) / 1000, linestyle=style, color=colour, alpha=0.7, label=label)


def draw_exits(axes: Any, prices: Sequence[Priced]) -> None:
    """1/N, and what was counted on it: forms fall together, so the ring's marks are drawn around the multicall's."""
    axes.plot(SIZES, [1 / size for size in SIZES], "-", color="0.7", label="1 / N")
    for form, size, width in (("multicall", 7, 0.0), ("ring", 12, 1.5)):
        points = {(priced.batch.size, priced.exits_per_operation) for priced in prices if priced.batch.form == form}
        if points:
            x, y = zip(*sorted(points), strict=True)
            fill = "none" if width else "tab:green"
            axes.plot(x, y, "o", markersize=size, markerfacecolor=fill, markeredgecolor="tab:green", label=form)
    extra = busy_exits(prices)
    if extra is not None:
        text = f"a busy ring: {extra:g} exits beyond the guest's own"
        axes.annotate(text, (0.03, 0.04), xycoords="axes fraction")
    axes.legend(fontsize="small", loc="upper right")


def busy_exits(prices: Sequence[Priced]) -> float | None:
    """Exits of an operation in a busy ring beyond those of its guest without it; None where one was not priced."""
    found = {(priced.batch.operation, priced.batch.form): priced.exits_per_operation for priced in prices}
    extras = [
        found[operation, "busy ring"] - found[operation, "own exits"]
        for operation in OPERATIONS
        if {(operation, "busy ring"), (operation, "own exits")} <= set(found)
    ]
    return max(extras, default=None)
