"""Where the engine cannot run, a person is told in one line, by every command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pv.cli import main
from pv.cli.complaint import Complaint, check_engine


def break_engine(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(_name: str) -> object:
        raise error

    monkeypatch.setattr("importlib.import_module", refuse)


def test_an_engine_that_runs_is_no_complaint() -> None:
    check_engine()
    assert "pv.engines.unicorn" in sys.modules


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'core'"), RuntimeError("layout differs")])
def test_an_engine_that_does_not_run_is_a_complaint(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    break_engine(monkeypatch, error)
    with pytest.raises(Complaint, match=f"the engine cannot run: {error}"):
        check_engine()


def test_commands_say_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = tmp_path / "guest.elf"
    guest.write_bytes(b"a guest")
    for arguments in (["run", str(guest)], ["compare", "map"]):
        with monkeypatch.context() as patch:
            break_engine(patch, RuntimeError("layout differs"))
            assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("pvkit: the engine cannot run: layout differs")
