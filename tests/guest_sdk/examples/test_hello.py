"""The first example runs, and writes its file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from guest_sdk import abi
from guest_sdk.examples import hello
from tests.guest_sdk.emulator import run


def test_hello_prints_and_exits_with_0() -> None:
    ran = run(hello.build())
    assert (ran.output, ran.status) == (b"hello, world\n", 0)
    assert ran.calls == [abi.BY_NAME["console_write"].number, abi.BY_NAME["exit"].number]


def test_main_writes_the_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hello", str(tmp_path / "hello.elf")])
    assert hello.main() == 0
    assert (tmp_path / "hello.elf").read_bytes() == hello.build()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["no/such/directory/hello.elf"]])
def test_bad_arguments_are_one_line_and_exit_code_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hello", *arguments])
    assert hello.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
