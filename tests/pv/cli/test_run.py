"""`pvkit run`: exit codes, what goes to stdout and what to stderr, and one line for each mistake."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pv.cli.run as command
from guest_sdk import Guest
from guest_sdk.examples import hello
from pv.cli import main
from pv.engines.base import RecordedExit
from pv.exits import Reason, StopWhy
from pv.outcome import ExitCounts, Outcome


def outcome(why: StopWhy = StopWhy.EXITED, status: int | None = 0, detail: str = "") -> Outcome:
    record = RecordedExit(7, Reason.VMCALL, 0x1003, 0x100000, 2, 1, (0,) * 16, b"\x0f\x01\xc1")
    return Outcome(
        why=why,
        status=status,
        detail=detail,
        rip=0x100000,
        code=b"\x0f\x0b",
        exits=ExitCounts(VMCALL=2),
        by_key={("VMCALL", "exit"): 1, ("VMCALL", "console_write"): 1},
        calls={},
        events={},
        latencies={},
        record=(record,),
        seconds=0.1,
        console="hello\n",
    )


class FakeMachine(SimpleNamespace):
    """Says hello, remembers how it was asked, and ends as it is told."""

    def __enter__(self) -> FakeMachine:
        return self

    def __exit__(self, *_error: object) -> None:
        self.closed = True

    def load(self, image: bytes) -> None:
        self.image = image

    def run(self, **budgets: Any) -> Outcome:
        self.budgets = budgets
        self.options["console"](b"hello\n")
        return self.ends


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    made = FakeMachine(ends=outcome(), options={}, notes=[])

    def make(**options: Any) -> FakeMachine:
        made.options = options
        return made

    monkeypatch.setattr(command, "Machine", make)
    return made


@pytest.fixture
def guest(tmp_path: Path) -> str:
    file = tmp_path / "guest.elf"
    file.write_bytes(b"a guest")
    return str(file)


def test_console_goes_to_stdout_and_nothing_else(
    machine: FakeMachine, guest: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["run", guest]) == 0
    assert capfdbinary.readouterr() == (b"hello\n", b"")
    assert machine.image == b"a guest"
    assert machine.closed


@pytest.mark.parametrize(
    ("why", "status", "code"),
    [
        (StopWhy.EXITED, 0, 0),
        (StopWhy.EXITED, 3, 3),
        (StopWhy.EXITED, 255, 255),
        (StopWhy.HALTED, None, 0),
        (StopWhy.TIMEOUT, None, 124),
        (StopWhy.MAX_EXITS, None, 124),
        (StopWhy.SHUTDOWN, None, 125),
        (StopWhy.UNHANDLED, None, 125),
        (StopWhy.ENGINE_ABORT, None, 125),
        (StopWhy.PANICKED, None, 134),
    ],
)
def test_exit_code_says_how_it_ended(
    machine: FakeMachine, guest: str, why: StopWhy, status: int | None, code: int
) -> None:
    machine.ends = outcome(why, status)
    assert main(["run", guest]) == code


def test_abnormal_stop_is_one_line_with_rip_and_bytes(
    machine: FakeMachine, guest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.ends = outcome(StopWhy.UNHANDLED, None, "no row for port 0x10")
    assert main(["run", guest]) == 125
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "pvkit: unhandled exit at rip 0x100000 (0f 0b): no row for port 0x10"


def test_what_may_be_why_follows(machine: FakeMachine, guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    machine.ends = outcome(StopWhy.SHUTDOWN, None)
    machine.notes.append("the guest is made for hypercalls")
    assert main(["run", guest]) == 125
    assert capsys.readouterr().err.splitlines()[1:] == ["pvkit: the guest is made for hypercalls"]


def test_verbose_shows_the_flight_record(machine: FakeMachine, guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    machine.ends = outcome(StopWhy.SHUTDOWN, None)
    assert main(["run", guest, "-v"]) == 125
    error = capsys.readouterr().err
    assert "vmcall" in error
    assert "registers at exit 7" in error


def test_stats_are_a_table_on_stderr(machine: FakeMachine, guest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", guest, "--stats"]) == 0
    assert machine.options["time_exits"] is True
    error = capsys.readouterr().err
    assert "VM-EXIT" in error
    assert "VMCALL console_write" in error
    assert "Total Samples:2" in error


def test_options_reach_the_machine(machine: FakeMachine, guest: str) -> None:
    options = "--technique trap --memory 32MiB --timeout 2.5 --max-exits 9 --strict --no-plugin a --no-plugin b"
    assert main(["run", guest, *options.split()]) == 0
    assert machine.budgets == {"timeout": 2.5, "max_exits": 9}
    asked = machine.options
    assert (asked["technique"], asked["memory"], asked["strict"]) == ("trap", "32MiB", True)
    assert asked["disabled_plugins"] == ["a", "b"]
    assert asked["trace"] is None
    assert (asked["options"], asked["grants"], asked["quotas"]) == ({}, None, {})


def test_settings_reach_the_machine(machine: FakeMachine, guest: str) -> None:
    options = "-o monitor_pages=0x400 --option translation_buffer_bytes=1_048_576"
    grants = "--grant exit --grant console_write --quota console_write=5 --quota exit=0"
    assert main(["run", guest, *options.split(), *grants.split()]) == 0
    asked = machine.options
    assert asked["options"] == {"monitor_pages": 1024, "translation_buffer_bytes": 1 << 20}
    assert (asked["grants"], asked["quotas"]) == (["exit", "console_write"], {"console_write": 5, "exit": 0})


MISTAKES: list[tuple[list[str], Callable[[str], bool]]] = [
    (["--technique", "magic"], lambda line: "magic" in line and "paravirt" in line),
    (["--memory", "lots"], lambda line: "lots" in line and "16MiB" in line),
    (["--memory", "1K"], lambda line: "1MiB" in line),
    (["--timeout", "0"], lambda line: line == "pvkit: --timeout 0 is not above 0"),
    (["--timeout", "nan"], lambda line: "--timeout" in line),
    (["--max-exits", "-1"], lambda line: "--max-exits" in line),
    (["--memory", "1TiB"], lambda line: "64GiB" in line),
    (["--memory", "65GiB"], lambda line: "64GiB" in line),
    (["--timeout", "soon"], lambda line: "--timeout" in line),
    (["--nonsense"], lambda line: "--nonsense" in line),
    (["--no-plugin", "nobody"], lambda line: "nobody" in line),
    (["--no-plugin", "nobody", "-o", "monitor_pages=5"], lambda line: "nobody" in line),
    (["--option", "monitor_pages"], lambda line: line.endswith("has no value; write monitor_pages=VALUE")),
    (["--option", "monitor_page=5"], lambda line: "did you mean 'monitor_pages'" in line),
    (["--option", "monitor_pages=few"], lambda line: "monitor_pages='few' is not a whole number from 16" in line),
    (["--option", "monitor_pages=0"], lambda line: "monitor_pages=0 is not a whole number from 16" in line),
    (["--technique", "magic", "-o", "monitor_pages=5"], lambda line: "magic" in line),
    (["--quota", "console_write"], lambda line: "--quota 'console_write' is not CALL=N" in line),
    (["--quota", "console_write=-1"], lambda line: "is not CALL=N" in line),
    (["--quota", "exit=1", "--quota", "exit=2"], lambda line: "--quota: exit is given twice" in line),
    (["--quota", "nothing=1"], lambda line: "no hypercall is named 'nothing'" in line),
    (["--grant", "nothing"], lambda line: "no hypercall is named 'nothing'" in line),
]


@pytest.mark.parametrize(("options", "says"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_a_mistake_is_one_line(
    options: list[str], says: Callable[[str], bool], guest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", guest, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pvkit: ")
    assert says(line)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = tmp_path / "absent.elf"
    assert main(["run", str(absent)]) == 2
    assert capsys.readouterr().err == f"pvkit: cannot read {absent}: No such file or directory\n"


@pytest.mark.parametrize("image", [b"\x7fELF", b"\x7fELF\x01\x01\x01" + bytes(60)], ids=["truncated", "32-bit"])
def test_a_file_that_is_no_guest_is_one_line(image: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.elf"
    file.write_bytes(image)
    assert main(["run", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pvkit: {file}: ELF file: ")


def test_a_device_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "/dev/zero"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pvkit: /dev/zero is a device")


def test_a_budget_beyond_all_counting_is_no_limit(tmp_path: Path) -> None:
    file = tmp_path / "hello.elf"
    file.write_bytes(hello.build())
    assert main(["run", str(file), "--max-exits", str(1 << 80), "--timeout", "1e300"]) == 0


def test_an_interrupt_shows_what_was_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "forever.elf"
    file.write_bytes(Guest("forever", paravirt=True).asm("main: jmp main").build())
    before = signal.getsignal(signal.SIGINT)
    alarm = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    alarm.start()
    assert main(["run", str(file), "--stats", "--timeout", "60"]) == 130
    alarm.join()
    error = capsys.readouterr().err
    assert "MSR_WRITE HYPERCALL_PAGE" in error
    assert "pvkit: stopped" in error
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_of_somebodys_has_no_signals(machine: FakeMachine) -> None:
    seen: list[list[int]] = []

    def enter() -> None:
        with command.interrupt_stops(machine) as interrupts:  # type: ignore[arg-type]
            seen.append(interrupts)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [[]]


def test_a_handler_that_leaves_is_an_error_and_no_status(
    machine: FakeMachine, guest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "run", lambda **_: sys.exit(3))
    with pytest.raises(RuntimeError, match=r"a handler called sys\.exit\(\)"):
        main(["run", guest])


def test_a_real_guest_says_hello(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "hello.elf"
    file.write_bytes(hello.build())
    assert main(["run", str(file), "--timeout", "20"]) == 0
    assert capfdbinary.readouterr() == (b"hello, world\n", b"")


def test_a_guest_for_ever_uses_its_budget_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "forever.elf"
    file.write_bytes(Guest("forever", paravirt=True).asm("_start: jmp _start").build())
    assert main(["run", str(file), "--timeout", "0.05"]) == 124
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pvkit: time budget used up at rip 0x")


def test_disks_are_the_machine_s(machine: FakeMachine, guest: str) -> None:
    assert main(["run", guest, "--disk", "one.img", "--disk", "two.img:cow"]) == 0
    assert machine.options["disks"] == ["one.img", "two.img:cow"]


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, "", "no such file or directory"),
        (b"", ":rw", "0 bytes are not whole sectors"),
        (b"x" * 513, "", "513 bytes"),
    ],
)
def test_a_file_that_is_no_disk_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, mode: str, says: str
) -> None:
    (tmp_path / "hello.elf").write_bytes(hello.build())
    disk = tmp_path / "disk.img"
    if content is not None:
        disk.write_bytes(content)
    assert main(["run", str(tmp_path / "hello.elf"), "--disk", f"{disk}{mode}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pvkit: disk {disk}: ")
    assert says in line
