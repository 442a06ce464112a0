"""What may a person say about plugins on the command line? Which are left out, what they are set to, what is allowed.

One alias an option, shared by the commands that take it, and from its text to what pv.machine.Machine takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hypercalls.registry import Registry
from pv.assembly import find_members, known_options
from pv.cli.complaint import Complaint
from pv.engine_options import INTERCEPT, OWN_OPTIONS
from pv.options import parse_options
from pv.plugin import load_plugins
from pv.techniques import technique as find_technique

Strict = Annotated[bool, typer.Option("--strict", help="Refuse to go on where a plugin cannot be used.")]
NoPlugin = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Leave out a plugin; repeatable.")]
Grants = Annotated[
    list[str] | None,
    typer.Option("--grant", metavar="CALL", help="Allow this hypercall, and of the others only those granted."),
]
Quotas = Annotated[
    list[str] | None,
    typer.Option("--quota", metavar="CALL=N", help="Most calls of this hypercall a second of the machine's time."),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option", "-o", metavar="NAME=VALUE", help="Set an option; `pvkit hypercalls options` lists a plugin's."
    ),
]
Intercept = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="Technique hardware: what exits besides, such as cr3,rdtsc,pf or -io:0x3f8."),
]


def read_quotas(texts: Sequence[str]) -> dict[str, int]:
    """Calls a second by name, from texts of CALL=N. Raises Complaint."""
    quotas: dict[str, int] = {}
    for text in texts:
        name, _, most = text.partition("=")
        if not name or not (most.isascii() and most.isdigit()):
            raise Complaint(f"--quota {text!r} is not CALL=N, with N a whole number, such as console_write=100")
        if name in quotas:
            raise Complaint(f"--quota: {name} is given twice")
        quotas[name] = int(most)
    return quotas


def read_options(texts: Sequence[str], technique: str, disabled: Sequence[str], strict: bool) -> dict[str, Any]:
    """Values by option, from texts of NAME=VALUE, as a machine of those plugins takes them. Raises Complaint."""
    if not texts:
        return {}
    try:
        members, _ = find_members(find_technique(technique), (), plugins=True, disabled=disabled, strict=strict)
        return parse_options(texts, known_options(OWN_OPTIONS, members))
    except ValueError as mistake:
        raise Complaint(str(mistake)) from mistake


def intercepts(text: str | None) -> dict[str, str]:
    """The option that --intercept is; its words are the machine's to refuse."""
    return {} if text is None else {INTERCEPT: text}


def installed(disabled: Sequence[str], strict: bool) -> Registry:
    """Every call of the installed plugins but `disabled`. What could not be loaded is logged. Raises Complaint."""
    try:
        return Registry(found.plugin for found in load_plugins(disabled, strict).plugins)
    except (ValueError, TypeError) as mistake:
        raise Complaint(str(mistake)) from mistake
