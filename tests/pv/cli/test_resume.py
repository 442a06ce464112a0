"""`pvkit run --snapshot` and `pvkit resume`: a run in two commands is the run in one, and mistakes are one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compare import PACKAGES, find_workload
from guest_sdk.examples import hello
from pv.cli import main
from pv.machine import Machine


@pytest.mark.parametrize("technique", sorted(PACKAGES))
def test_a_run_in_two_commands(technique: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guest, file = tmp_path / "guest", tmp_path / "half"
    guest.write_bytes(find_workload("console", technique).build(5))
    assert main(["run", "--technique", technique, str(guest)]) == 0
    whole = capsys.readouterr().out
    assert main(["run", "--technique", technique, str(guest), "--max-exits", "4", "--snapshot", str(file)]) == 124
    first = capsys.readouterr().out
    again = tmp_path / "again"
    assert main(["resume", str(file), "--max-exits", "1", "--snapshot", str(again)]) == 124
    second = capsys.readouterr().out
    assert main(["resume", str(again), "--stats"]) == 0
    third = capsys.readouterr()
    assert first + second + third.out == whole
    assert "IO_INSTRUCTION" in third.err or "VMCALL" in third.err


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guest, file, empty, none = (tmp_path / name for name in ("guest", "file", "empty", "none"))
    guest.write_bytes(hello.build())
    assert main(["run", str(guest), "--snapshot", str(file)]) == 0
    with Machine() as machine:
        machine.snapshot().save(empty)
    capsys.readouterr()
    for arguments, line in (
        (["resume", str(file)], f"pvkit: {file}: the guest has ended: exited with status 0"),
        (["resume", str(empty)], f"pvkit: {empty}: there was no guest in the machine yet"),
        (["resume", str(none)], f"pvkit: cannot read {none}: No such file or directory"),
        (["resume", str(guest)], f"pvkit: {guest} is no snapshot of pvkit, or is cut short"),
        (["resume", str(file), "--no-plugin", "clock"], f"pvkit: {file}: the snapshot is of a machine with plugin"),
        (["resume", str(file), "--no-plugin", "x"], "pvkit: no plugin is named 'x'"),
        (["resume", str(file), "--timeout", "-1"], "pvkit: --timeout -1 is not above 0"),
        (["run", str(guest), "--snapshot", "/nowhere/x"], "pvkit: cannot write /nowhere/x: No such file or directory"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith(line)
        assert error.count("\n") == 1
