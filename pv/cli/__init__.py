"""The command `pvkit`: one file a command, and one line for every mistake a person makes.

Exit codes: 0 well; 2 usage or bad input; compare and check: 1 where results differ or a guest failed; run and resume:
the guest's own status, 124 where the time or exit budget was used up, 134 where the guest panicked, 125 where the
machine stopped for another reason; doctor: 1 where the engine cannot run; 130 interrupted; 141 where nobody read the
output.
The outermost layer: it may import hypercalls, the workloads and bench, and nothing imports it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from pv.cli import batches, build, check, compare, doctor, hypercalls, resume, run, theorem, translate
from pv.cli.complaint import EXPECTED, INTERRUPTED_STATUS, USAGE_STATUS
from pv.cli.screen import UNREAD_STATUS, Unread, mention, say

app = typer.Typer(
    name="pvkit",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(compare.compare)
app.command()(check.check)
app.command()(batches.batches)
app.command()(theorem.theorem)
app.command()(translate.translate)
app.command()(run.run)
app.command()(resume.resume)
app.command()(build.build)
app.add_typer(hypercalls.hypercalls, name="hypercalls")
app.command()(doctor.doctor)


def show_version(asked: bool) -> None:
    """Print the version and leave, where it was asked for."""
    if asked:
        try:
            say(f"pvkit {version('pvkit')}")
        except PackageNotFoundError:  # run from a tree that is not installed
            say("pvkit (not installed)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run x86-64 guests under each technique of virtualization, and count what every exit costs."""
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(USAGE_STATUS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. A person's mistake is one line on stderr, never a traceback."""
    logging.basicConfig(format="pvkit: %(message)s", level=logging.WARNING)  # plugins that were left out, to stderr
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="pvkit", standalone_mode=False)
    except typer.TyperException as mistake:
        return complain(mistake.format_message())
    except EXPECTED as mistake:
        return complain(str(mistake))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED_STATUS
    except Unread:
        return UNREAD_STATUS
    return status if isinstance(status, int) else 0


def complain(message: str) -> int:
    """One line on stderr, and the exit code of a usage error."""
    mention(f"pvkit: {' '.join(message.split())}")
    return USAGE_STATUS
