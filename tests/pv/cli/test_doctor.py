"""`pvkit doctor`: a line a finding, a cure beside what is missing, and an exit code that the engine decides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pv.cli.doctor as command
from hypercalls import Plugin, hypercall
from pv.cli import main
from pv.cli.doctor import Finding
from pv.plugin import LoadedPlugin, LoadedPlugins, PluginError


def find(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> int:
    monkeypatch.setattr(command, "CHECKS", (lambda: iter(findings),))
    return main(["doctor"])


def test_a_missing_thing_has_its_cure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert find(monkeypatch, Finding("anvil", True, "iron"), Finding("hammer", False, "no", "buy a hammer")) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ok", "anvil", "iron"],
        ["missing", "hammer", "no"],
        ["to", "mend:", "buy", "a", "hammer"],
    ]


def test_only_what_the_engine_needs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(monkeypatch, Finding("kvm", False, "not there")) == 0
    assert find(monkeypatch, Finding("native core", False, "not built", needed=True)) == 1


def test_this_interpreter_is_found() -> None:
    first = next(command.python())
    assert (first.what, first.ok, first.needed) == ("Python", True, True)


def test_a_machine_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    (finding,) = command.compiler()
    assert (finding.ok, finding.needed) == (False, False)
    assert "apt-get" in finding.mend


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), PermissionError(13, "Permission denied")])
def test_kvm_that_does_not_open_is_not_needed(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(_path: Path, _flags: int) -> int:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    findings = list(command.kvm())
    assert [(finding.ok, finding.needed) for finding in findings] == [(False, False)]
    assert findings[0].mend


@pytest.mark.parametrize(
    ("raised", "detail"),
    [(ModuleNotFoundError("no core"), "no core"), (RuntimeError("libunicorn's layout differs"), "layout differs")],
)
def test_an_engine_that_does_not_import_says_why(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, detail: str
) -> None:
    def refuse(_name: str) -> object:
        raise raised

    monkeypatch.setattr("importlib.import_module", refuse)
    *_, last = command.engine()
    assert (last.ok, last.needed) == (False, True)
    assert detail in last.detail


def plugins_of(monkeypatch: pytest.MonkeyPatch, found: LoadedPlugins) -> list[Finding]:
    monkeypatch.setattr(command, "load_plugins", lambda: found)
    return list(command.plugins())


def test_a_broken_plugin_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = plugins_of(monkeypatch, LoadedPlugins((), ("plugin x left out: ImportError: y",)))
    assert (finding.ok, finding.detail) == (False, "plugin x left out: ImportError: y")


def test_no_plugin_at_all_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = plugins_of(monkeypatch, LoadedPlugins((), ()))
    assert (finding.what, finding.ok) == ("plugins", False)


def test_two_plugins_of_one_name_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def clash() -> Iterator[LoadedPlugins]:
        raise PluginError("two plugins are named 'x'")

    monkeypatch.setattr(command, "load_plugins", clash)
    (finding,) = command.plugins()
    assert (finding.ok, finding.detail) == (False, "two plugins are named 'x'")


def test_what_a_plugin_is_from_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = LoadedPlugin("dice", Plugin("dice", "1"), "dice (dice:PLUGIN, from pvkit-dice 1)")
    (finding,) = plugins_of(monkeypatch, LoadedPlugins((loaded,), ()))
    assert (finding.what, finding.detail) == ("plugin dice", "dice:PLUGIN, from pvkit-dice 1")


def test_two_plugins_of_one_number_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    @hypercall(0x8001, "one")
    def one(_machine: object) -> int:
        return 1

    @hypercall(0x8001, "other")
    def other(_machine: object) -> int:
        return 2

    plugins = [Plugin("a", "1", (one,)), Plugin("b", "1", (other,))]
    found = tuple(LoadedPlugin(plugin.name, plugin, plugin.name) for plugin in plugins)
    (finding,) = plugins_of(monkeypatch, LoadedPlugins(found, ()))
    assert (finding.ok, finding.wrong) == (False, "clash")
    assert "0x8001 is claimed by a (one) and by b (other)" in finding.detail


def test_guests_in_c_have_a_compiler_or_are_told_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    (absent,) = command.c_guests()
    assert (absent.ok, absent.needed) == (False, False)
    assert absent.mend == "apt-get install gcc, or name yours in CC"
    own = tmp_path / "gcc"
    own.write_text('#!/bin/sh\necho "x86_64 gcc 1.2"\n')
    own.chmod(0o755)
    (found,) = command.c_guests()
    assert (found.ok, found.detail) == (True, "x86_64 gcc 1.2")
