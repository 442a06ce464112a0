"""How does a command write? To stdout and stderr as they are: narrow, piped, closed, full, or with nobody reading."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Final, TextIO

from rich.console import Console

from pv.cli.complaint import Complaint
from pv.report.comparison import WIDTH

UNREAD_STATUS: Final = 141  # what a shell shows of a program that SIGPIPE ended


class Unread(Exception):
    """Whoever read our output went away: nothing is left to do, and nobody to tell."""


def say(*texts: Any) -> None:
    """Print each text, or what rich can render, to stdout. Raises Complaint, Unread."""
    if sys.stdout is None:  # closed by whoever started us
        return
    try:
        stdout = console(sys.stdout)
        with stdout.capture() as captured:  # rich, writing by itself, would end the process where nobody reads
            for text in texts:
                stdout.print(text, soft_wrap=isinstance(text, str))
        sys.stdout.write(captured.get())
        sys.stdout.flush()
    except OSError as refused:
        raise unwritten(refused, sys.stdout, "stdout") from refused


def echo(data: bytes) -> None:
    """Pass bytes on to stdout at once, as they are. Raises Complaint, Unread."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as refused:
        raise unwritten(refused, sys.stdout, "stdout") from refused


def mention(line: str) -> None:
    """Print to stderr what is no result. Raises Complaint, Unread."""
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError as refused:
        raise unwritten(refused, sys.stderr, "stderr") from refused


def console(stream: TextIO) -> Console:
    """A rich console on `stream`, WIDTH columns wide where it is no terminal."""
    made = Console(file=stream, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = WIDTH
    return made


def columns(stream: TextIO | None) -> int | None:
    """The width of the terminal that `stream` is, None where it is none."""
    return console(stream).width if stream is not None and stream.isatty() else None


def unwritten(refused: OSError, stream: TextIO, name: str) -> Exception:
    """What to raise where `stream` refused a text. What it still holds is dropped, or the interpreter's exit fails."""
    with contextlib.suppress(OSError):  # a stream that is no file has nothing to drop
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if isinstance(refused, BrokenPipeError):
        return Unread()
    return Complaint(f"cannot write to {name}: {refused.strerror}")
