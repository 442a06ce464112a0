"""`pvkit build`: a guest in C, compiled by the machine's compiler against the live registry, plugins included."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from guest_sdk import AssemblyError, cc
from guest_sdk.errors import CompilationError, CompilerMissing
from hypercalls.registry import Registry
from pv.cli.choices import NoPlugin, Strict, installed
from pv.cli.complaint import USAGE_STATUS, Complaint
from pv.cli.screen import mention
from pv.memory import parse_size


def build(
    sources: Annotated[
        list[Path], typer.Argument(help="C and assembler files, objects, archives.", metavar="SOURCE...")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The guest; SOURCE.elf if left out.")
    ] = None,
    include: Annotated[list[Path] | None, typer.Option("-I", metavar="DIR", help="Headers; repeatable.")] = None,
    define: Annotated[list[str] | None, typer.Option("-D", metavar="NAME[=VALUE]", help="A macro; repeatable.")] = None,
    cflags: Annotated[
        list[str] | None, typer.Option("--cflags", metavar="FLAGS", help='Further flags, as in --cflags "-O0 -Werror".')
    ] = None,
    stack: Annotated[str, typer.Option(metavar="SIZE", help="The guest's stack.")] = "64K",
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave there what is made on the way, pvkit_calls.h among it.")
    ] = None,
    strict: Strict = False,
    no_plugin: NoPlugin = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the compiler's commands.")] = False,
) -> None:
    """Build a guest from C; <pvkit.h> has every hypercall.

    The compiler is CC, else gcc, clang or cc. Exit code 2 where it refuses, with what it says.
    """
    registry = installed(no_plugin or (), strict)
    made = output or Path(f"{sources[0].stem}.elf")
    try:
        check_output(made, sources)
        elf = cc.build(
            sources,
            include=include or (),
            define=define or (),
            flags=[flag for flags in cflags or () for flag in shlex.split(flags)],
            stack_bytes=parse_size(stack),
            calls=registry.abi_calls(),
            writes=registry.writes(),
            features=registry.features,
            parts=parts_of(registry),
            show=mention if verbose else cc.nobody,
            warn=mention,
            keep=keep,
        )
        made.write_bytes(elf)
    except CompilationError as refused:  # the compiler's own words say where: they are not ours to change
        mention(refused.output.rstrip("\n"))
        raise typer.Exit(USAGE_STATUS) from refused
    except (AssemblyError, CompilerMissing, ValueError) as refused:
        raise Complaint(str(refused)) from refused
    except OSError as refused:
        raise Complaint(f"cannot write {refused.filename}: {refused.strerror}") from refused


def check_output(made: Path, sources: list[Path]) -> None:
    """Raises Complaint where the guest would be written over one of its sources."""
    if made.exists() and any(source.exists() and source.samefile(made) for source in sources):
        raise Complaint(f"{made} is a source; name another file with -o")


def parts_of(registry: Registry) -> list[cc.Part]:
    """What the plugins bring for guests in C: their `c_include` and `c_sources`."""
    found = []
    for name, plugin in registry.plugins.items():
        include = getattr(plugin, "c_include", None)  # a plugin of a class of its own may have none of these
        sources = tuple(getattr(plugin, "c_sources", ()))
        if include is not None or sources:
            found.append(cc.Part(name, include, sources))
    return found
