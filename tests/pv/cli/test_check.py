"""`pvkit check`: equal is 0, different 1, and each mistake one line and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

import pv.cli.check as command
from guest_sdk import Guest
from pv.cli import main


def unmodified(folder: Path, text: str) -> str:
    guest = Guest("checked", paravirt=False)
    guest.bss("table", 16)
    file = folder / "guest.elf"
    file.write_bytes(guest.asm(f"main:\n{text}\nxor eax, eax\nret").build())
    return str(file)


@pytest.fixture
def hole(tmp_path: Path) -> str:
    return unmodified(tmp_path, "sgdt [table]")


def test_an_equal_guest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", unmodified(tmp_path, "nop"), "--memory", "2MiB"]) == 0
    out, error = capsys.readouterr()
    assert "equal under trap, translate, hardware" in out
    assert error == ""


def test_a_guest_that_differs(hole: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", hole, "--techniques", "trap,hardware", "--memory", "2MiB"]) == 1
    out = capsys.readouterr().out
    assert "different under trap and hardware: memory, gpa 0x" in out
    assert " is table" in out


def test_what_is_ignored_makes_no_difference(hole: str) -> None:
    assert main(["check", hole, "--techniques", "hardware,trap", "--ignore", "table", "--memory", "2MiB"]) == 0


def test_one_technique_runs_twice(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", guest]) == 0
    assert "equal in two runs under paravirt" in capsys.readouterr().out


def test_a_run_that_does_not_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endless = unmodified(tmp_path, "again: jmp again")
    assert main(["check", endless, "--timeout", "0.05", "--memory", "2MiB"]) == 1
    assert "had not ended" in capsys.readouterr().out


def test_a_workload_is_both_halves_of_its_pair(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "workload:cpuid-msr", "--scale", "0.005"]) == 0
    out = capsys.readouterr().out
    assert "equal under trap" in out
    assert "equal in two runs under paravirt" in out
    assert out.endswith("both halves of the pair print the same\n")


def test_halves_that_print_otherwise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find = command.harness.find_workload
    monkeypatch.setattr(
        command.harness,
        "find_workload",
        lambda name, technique: find("compute" if technique == "paravirt" else name, technique),
    )
    assert main(["check", "workload:cpuid-msr", "--scale", "0.005"]) == 1
    assert "different: the paravirtual half printed" in capsys.readouterr().out


def test_all_workloads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command.harness, "WORKLOADS", ("console", "compute"))
    assert main(["check", "--all-workloads", "--scale", "0.001"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.endswith(":")] == ["console:", "compute:"]


@pytest.mark.parametrize("name", command.harness.WORKLOADS)
def test_every_workload_is_equal_under_all_techniques(name: str) -> None:
    assert main(["check", f"workload:{name}", "--scale", "0.01"]) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give one guest"),
        (["GUEST", "--all-workloads"], "give one guest"),
        (["nowhere.elf"], "cannot read nowhere.elf"),
        (["workload:nothing"], "no workload is called 'nothing'"),
        (["GUEST", "--techniques", "magic"], "no technique 'magic'"),
        (["GUEST", "--techniques", "paravirt"], "technique 'paravirt' cannot run this guest: trap"),
        (["GUEST", "--techniques", ","], "--techniques names none"),
        (["GUEST", "--memory", "soup"], "soup"),
        (["GUEST", "--ignore", "soup"], "--ignore 'soup' is no GPA+SIZE"),
        (["GUEST", "--timeout", "0"], "--timeout 0 is not above 0"),
        (["GUEST", "--max-exits", "-1"], "--max-exits -1 is not above 0"),
        (["GUEST", "--disk", "x.img:rw"], "what one run writes the next would read"),
        (["GUEST", "--disk", "nowhere.img"], "nowhere.img"),
        (["workload:clock", "--scale", "0"], "--scale 0"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], says: str, hole: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *(hole if argument == "GUEST" else argument for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
