"""`pvkit theorem`: its table, one instruction, its JSON, and one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pv.cli import main


def test_one_instruction_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorem", "--instruction", "popf"]) == 0
    out, error = capsys.readouterr()
    assert out.startswith("POPF  (flags and interrupts)\n")
    assert "trap      hole (runs); differs: IF IOPL; no exit\n" in out
    assert error == ""


def test_techniques_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorem", "--instruction", "lgdt", "--technique", "trap", "--technique", "trap"]) == 0
    out, _ = capsys.readouterr()
    assert "\ntrap " in out
    assert "\nparavirt " not in out


def test_the_whole_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert main(["theorem", "--technique", "trap", "--json", str(file)]) == 0
    out, error = capsys.readouterr()
    assert "Theorem 1 fails" in out
    assert max(map(len, out.splitlines())) <= 120
    assert error == ""
    document = json.loads(file.read_text(encoding="utf-8"))
    assert len(document["rows"]) == 91


def test_json_to_stdout_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorem", "--instruction", "cli", "--technique", "trap", "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["rows"]] == ["CLI"]
    assert document["theorem"] is None  # one instruction says nothing of all


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--instruction", "poof"], "pvkit: --instruction: no instruction 'poof'; near it: POPF"),
        (["--instruction", "xyzzy"], "pvkit: --instruction: no instruction 'xyzzy'; `pvkit theorem` lists them"),
        (["--technique", "magic"], "pvkit: --technique 'magic' is not known: "),
        (["--json", "/nowhere/rows.json"], "pvkit: cannot write /nowhere/rows.json: No such file or directory"),
        (["--json", "/"], "pvkit: cannot write /: Is a directory"),
        (["POPF"], "pvkit: Got unexpected extra argument"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theorem", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(says)
    assert error.count("\n") == 1
