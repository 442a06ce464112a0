"""`pvkit hypercalls`: the live registry, installed plugins included, as a list, a page a call, or a header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.table import Table

from guest_sdk import abi
from guest_sdk.headers import asm_header, c_header
from hypercalls.registry import Registry
from pv.cli.complaint import Complaint
from pv.cli.screen import say
from pv.plugin import load_plugins

HEADERS: Final[dict[str, Callable[[tuple[abi.Call, ...]], str]]] = {"c": c_header, "asm": asm_header}

CALL_COLUMNS: Final = 40  # a longer call wraps

hypercalls = typer.Typer(help="List the hypercalls that a guest may make, or print their header.")


def registry() -> Registry:
    """Every call of every installed plugin. What could not be loaded is logged."""
    return Registry(found.plugin for found in load_plugins().plugins)


@hypercalls.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """List them where nothing else is asked."""
    if context.invoked_subcommand is None:
        show_list()


@hypercalls.command("list")
def show_list() -> None:
    """List every call: number, name and arguments, who brought it."""
    calls = registry()
    widest = max((len(listed.outline()) for listed in calls), default=0)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("number", "call", "owner", "result"):
        table.add_column(heading, width=min(widest, CALL_COLUMNS) if heading == "call" else None)
    for listed in calls:
        call = listed.call
        table.add_row(f"{call.number:#06x}", listed.outline(), listed.owner, call.result or "an integer")
    say(table)


@hypercalls.command()
def show(name: Annotated[str, typer.Argument(help="The call's name, such as console_write.")]) -> None:
    """Show all that is known of one call."""
    try:
        say(registry().find(name).text())
    except KeyError as unknown:
        raise Complaint(str(unknown.args[0])) from unknown


@hypercalls.command()
def header(language: Annotated[str, typer.Argument(metavar="c|asm", help="Whose header to print.")]) -> None:
    """Print the header of all calls, plugins included."""
    if language not in HEADERS:
        raise Complaint(f"no header for {language!r}; there are {', '.join(HEADERS)}")
    calls = tuple(
        abi.Call(call.number, call.name, call.arguments, call.result, call.user_allowed)
        for call in (listed.call for listed in registry())
    )
    say(HEADERS[language](calls).removesuffix("\n"))
