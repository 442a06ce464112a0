"""What a command writes, whoever reads it: a terminal, a pipe, a full disk, nobody."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pv.cli import screen
from pv.cli.complaint import Complaint
from pv.cli.screen import UNREAD_STATUS, Unread, columns, echo, mention, say
from pv.report.comparison import WIDTH

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-c", "import sys; from pv.cli import main; sys.exit(main())", "hypercalls", "list"]


class Refusing(io.TextIOWrapper):
    """A stdout that cannot be written."""

    def __init__(self, refused: OSError) -> None:
        self.refused = refused
        super().__init__(io.BytesIO(), encoding="utf-8")

    def write(self, text: str) -> int:
        if text:
            raise self.refused
        return 0


def test_texts_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]not markup[/bold] :smile: " + "x" * 200, "second")
    mention("third")
    assert capsys.readouterr() == ("[bold]not markup[/bold] :smile: " + "x" * 200 + "\nsecond\n", "third\n")


def test_bytes_are_passed_on(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    echo(b"\xff\x00")
    assert capfdbinary.readouterr().out == b"\xff\x00"


@pytest.mark.parametrize(
    ("refused", "error", "says"),
    [
        (OSError(28, "No space left"), Complaint, "cannot write to stdout: No space left"),
        (BrokenPipeError(), Unread, "^$"),
    ],
)
def test_what_cannot_be_written(
    refused: OSError, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Refusing(refused))
    with pytest.raises(error, match=says):
        say("text")


def test_a_closed_stream_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    say("text")
    echo(b"text")
    mention("text")
    assert columns(sys.stderr) is None


def test_a_pipe_is_wide_and_has_no_colour() -> None:
    made = screen.console(io.StringIO())
    assert (made.width, made.is_terminal) == (WIDTH, False)
    assert columns(io.StringIO()) is None


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {"COLUMNS": "5"}])
def test_any_environment_gets_the_same_text(environment: dict[str, str]) -> None:
    plain, other = (
        subprocess.run(COMMAND, cwd=ROOT, env={**os.environ, **extra}, capture_output=True, check=True).stdout
        for extra in ({}, environment)
    )
    assert plain == other


def test_a_reader_that_goes_away_ends_it_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(COMMAND, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (UNREAD_STATUS, b"")


def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(COMMAND, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (2, b"pvkit: cannot write to stdout: No space left on device\n")
