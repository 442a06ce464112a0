"""`pvkit translate`: what a run left in the cache, what would be there, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest_sdk import Guest
from pv.cli import main


@pytest.fixture
def guest(tmp_path: Path) -> str:
    """main writes with its interrupts off; `never` does not run."""
    made = Guest("translated", paravirt=False)
    made.bss("word", 8)
    file = tmp_path / "guest.elf"
    code = "main:\ncli\nsgdt [word]\nsti\nmov ecx, 3\nagain:\nloop again\nxor eax, eax\nret\nnever:\nhlt\njmp never"
    file.write_bytes(made.asm(code).build())
    return str(file)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["translate", *arguments, "--memory", "2MiB"]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    return out.splitlines()


def test_a_run_leaves_its_blocks(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, guest)
    assert any(" main: " in line for line in text)
    assert any(line.split()[1:2] == ["cli"] and "bndmk bnd0, [0]" in line for line in text)
    assert any("chained" in line for line in text)
    assert max(map(len, text)) <= 120
    assert not any(" never" in line for line in text)


def test_one_block(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, guest, "--at", "again")
    headings = [line for line in text if line and not line.startswith(" ")]
    assert all("bytes of the guest's" in line for line in headings)
    assert 1 <= len(headings) <= 2  # LOOP's target begins a block of its own
    assert any("loop" in line for line in text)
    address = next(line for line in text if "loop" in line).split()[0]
    assert shown(capsys, guest, "--at", address) == text


def test_without_running(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, guest, "--static", "--at", "never")
    assert [line.split()[1] for line in text[1:] if line.startswith("  0x")] == ["hlt", "jmp"]
    first = shown(capsys, guest, "--static", "--blocks", "2")
    assert len([line for line in first if line and not line.startswith(" ")]) == 2
    assert any("LINK" in line for line in first)


def test_blocks_that_are_left_out_are_counted(guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", guest, "--memory", "2MiB", "--blocks", "1"]) == 0
    out, error = capsys.readouterr()
    assert out.count("bytes of the guest's") == 1
    assert error.startswith("pvkit: ")
    assert "more blocks; --blocks " in error


def test_a_workload(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", "workload:interrupt-flag", "--at", "work"]) == 0
    out, _ = capsys.readouterr()
    assert "bndcu bnd1, [1]" in out


def test_a_run_that_does_not_end_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "endless.elf"
    file.write_bytes(Guest("endless", paravirt=False).asm("main: jmp main").build())
    assert main(["translate", str(file), "--memory", "2MiB", "--timeout", "0.1"]) == 0
    out, error = capsys.readouterr()
    assert " main: " in out
    assert error == "pvkit: the run ended otherwise than by the guest: time budget used up\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--at", "nowhere"], "pvkit: --at 'nowhere' is neither an address, such as 0x100000, nor a symbol of this"),
        (["--at", "-1"], "pvkit: --at '-1' is neither an address"),
        (["--at", "0x12"], "left no block with 0x12 in it in the cache; --static translates without running"),
        (["--static", "--at", "0x7fffffffffff"], "pvkit: no instruction can be read at 0x7fffffffffff: "),
        (["--blocks", "0"], "pvkit: --blocks 0 is not a number from 1 on"),
        (["--timeout", "-1"], "pvkit: --timeout"),
        (["--memory", "7"], "pvkit: "),
        (["--disk", "/nowhere"], "pvkit: "),
    ],
)
def test_a_mistake_is_one_line(guest: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", guest, *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert says in error
    assert error.count("\n") == 1


def test_a_guest_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (str(tmp_path / "none"), "workload:none"):
        assert main(["translate", name]) == 2
        assert capsys.readouterr().err.count("\n") == 1
