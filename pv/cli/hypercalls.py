"""`pvkit hypercalls`: the live registry, installed plugins included, as a list, a page a call, options, or a header."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import typer
from rich.table import Table

from guest_sdk.headers import asm_header, c_header
from guest_sdk.stubs import WRITES, calls_header
from hypercalls.registry import Registry
from pv.cli.choices import NoPlugin, Strict, installed
from pv.cli.complaint import Complaint
from pv.cli.screen import say
from pv.engine_options import OWN_OPTIONS
from pv.options import Option


def whole_c_header(registry: Registry) -> str:
    """Constants and structures, then the calls as functions: what a guest includes as pvkit_calls.h."""
    calls = registry.abi_calls()
    return f"{c_header(calls, registry.features)}\n{calls_header(calls, {**registry.writes(), **WRITES})}"


def whole_asm_header(registry: Registry) -> str:
    """Constants for an assembler."""
    return asm_header(registry.abi_calls(), registry.features)


HEADERS: Final[dict[str, Callable[[Registry], str]]] = {"c": whole_c_header, "asm": whole_asm_header}

CALL_COLUMNS: Final = 40  # a longer call wraps

hypercalls = typer.Typer(help="List what a guest may call, or print a header for it.")


@hypercalls.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """List them where nothing else is asked."""
    if context.invoked_subcommand is None:
        show_list()


@hypercalls.command("list")
def show_list(strict: Strict = False, no_plugin: NoPlugin = None) -> None:
    """List every call: number, name and arguments, who brought it; then the plugins' feature bits and options."""
    calls = installed(no_plugin or (), strict)
    widest = max((len(listed.outline()) for listed in calls), default=0)
    table = plain_table("number", "call", "owner", "result", widths={"call": min(widest, CALL_COLUMNS)})
    for listed in calls:
        call = listed.call
        table.add_row(f"{call.number:#06x}", listed.outline(), listed.owner, call.result or "an integer")
    say(table)
    if calls.features:
        features = plain_table("bit", "feature", "owner")
        for name, bit in sorted(calls.features.items(), key=lambda item: item[1]):
            features.add_row(str(bit), name, calls.feature_owner(name))
        say("", features)
    if calls.options:
        say("", options_table(calls.options))


@hypercalls.command("options")
def show_options(strict: Strict = False, no_plugin: NoPlugin = None) -> None:
    """List what may be set with `pvkit run --option`: a machine's own options, and each plugin's."""
    own = {option.name: option for option in OWN_OPTIONS}
    say(options_table(own | installed(no_plugin or (), strict).options))


def plain_table(*headings: str, widths: Mapping[str, int] | None = None) -> Table:
    """A table without lines."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, width=(widths or {}).get(heading))
    return table


def options_table(options: Mapping[str, Option]) -> Table:
    """Each option: its name, values, default and what it is for."""
    table = plain_table("option", "values", "default", "what it is")
    for name in sorted(options):
        option = options[name]
        table.add_row(name, option.describe(), option.show(option.default), option.help)
    return table


@hypercalls.command()
def show(
    name: Annotated[str, typer.Argument(help="The call's name, such as console_write, or a plugin's.")],
    strict: Strict = False,
    no_plugin: NoPlugin = None,
) -> None:
    """Show all that is known of one call, or of a plugin."""
    calls = installed(no_plugin or (), strict)
    if name not in calls.by_name and name in calls.plugins:
        say(calls.plugin_text(name))
        return
    try:
        say(calls.find(name).text())
    except KeyError as unknown:
        raise Complaint(str(unknown.args[0])) from unknown


@hypercalls.command()
def header(
    language: Annotated[str, typer.Argument(metavar="c|asm", help="Whose header to print.")],
    strict: Strict = False,
    no_plugin: NoPlugin = None,
) -> None:
    """Print the header of all calls, plugins included."""
    if language not in HEADERS:
        raise Complaint(f"no header for {language!r}; there are {', '.join(HEADERS)}")
    say(HEADERS[language](installed(no_plugin or (), strict)).removesuffix("\n"))
