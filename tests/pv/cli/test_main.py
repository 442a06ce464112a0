"""The command line as a whole: version, help, and where errors go."""

from __future__ import annotations

import pytest

import pv.cli as cli
from pv.cli import main
from pv.cli.complaint import EXPECTED


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pvkit ")


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert [name for name in ("compare", "run", "hypercalls", "doctor") if name not in text] == []


def test_help_says_each_command_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    commands = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert len(commands) > 5
    assert [line for line in commands if line.endswith("...")] == []


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "compare" in "".join(capsys.readouterr())


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pvkit: No such command 'fly'")


@pytest.mark.parametrize("mistake", EXPECTED, ids=lambda kind: kind.__name__)
def test_a_persons_mistake_is_one_line(
    mistake: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_options: object) -> None:
        raise mistake("first\n  second")

    monkeypatch.setattr(cli, "app", fail)
    assert main([]) == 2
    assert capsys.readouterr().err == "pvkit: first second\n"


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(ZeroDivisionError):
        main([])


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupt)
    assert main([]) == 130
