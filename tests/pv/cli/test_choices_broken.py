"""Broken plugins, installed: each is one line, and other machines of the process go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guest_sdk.examples import hello
from pv import Machine
from pv.cli import main

Install = Callable[..., str]
PLAIN = 'PLUGIN = Plugin("{0}", "1", (call,))'
SOURCE = r"bad (installed_bad:PLUGIN, from pkg-bad 1.5)"


def complaint(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command gives 2."""
    assert main(list(arguments)) == 2
    error = capfd.readouterr().err
    assert error.startswith("pvkit: ")
    assert error.count("\n") == 1, error
    return error


def others_go_on(disabled: str) -> None:
    with Machine(memory="2MiB", disabled_plugins=[disabled]) as machine:
        machine.load(hello.build())
        assert machine.run(timeout=20).console == "hello, world\n"


UNUSABLE = {
    "raises as it is imported": ("1 // 0", "ZeroDivisionError: integer division or modulo by zero"),
    "exits as it is imported": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "is no Python": ("def (", "SyntaxError: invalid syntax"),
    "raises what is no Exception": ("raise BaseException('odd')", "BaseException: odd"),
    "has no such name": ("", "AttributeError: module 'installed_bad' has no attribute 'PLUGIN'"),
    "is no plugin": ("PLUGIN = 7", "TypeError: installed_bad:PLUGIN is of type int and has no name"),
    "has another name": (PLAIN.format("good"), "it calls itself 'good' and its entry point 'bad'"),
    "claims a bit out of range": ('PLUGIN = Plugin("bad", "1", (), (Feature("b", 31),))', "bit 31 is not a plugin's"),
    "claims a built-in feature": ('PLUGIN = Plugin("bad", "1", (), (Feature("ring", 40),))', "is pvkit's own"),
    "ships no headers": (
        'PLUGIN = Plugin("bad", "1", c_include=Path("/no/such"))',
        "c_include /no/such is no directory; does the package ship it?",
    ),
    "declares an option that cannot be": (
        'PLUGIN = Plugin("bad", "1", options=(Option("a", default="x"),))',
        "option a='x' is not a whole number",
    ),
}


@pytest.mark.parametrize(("code", "says"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_reported_and_skipped_and_fatal_under_strict(
    install: Install,
    guest: str,
    code: str,
    says: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    install("bad", code)
    assert main(["run", guest]) == 0
    assert capfd.readouterr().out == "hello, world\n"
    (report,) = caplog.messages
    assert report.startswith(f"plugin {SOURCE} left out: ")
    assert says in report
    for command in (["run", guest], ["hypercalls", "list"], ["hypercalls", "header", "c"]):
        line = complaint(capfd, *command, "--strict")
        assert line.startswith(f"pvkit: plugin {SOURCE} cannot be used: ")
        assert says in line
    assert main(["run", guest, "--strict", "--no-plugin", "bad"]) == 0
    others_go_on("bad")


def test_an_entry_point_that_names_no_module(
    install: Install, guest: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    install("bad", "", point="bad = no_such_module_anywhere:PLUGIN")
    assert main(["run", guest]) == 0
    assert [line.endswith("No module named 'no_such_module_anywhere'") for line in caplog.messages] == [True]
    capfd.readouterr()
    assert "no_such_module_anywhere" in complaint(capfd, "run", guest, "--strict")
    others_go_on("bad")


FAILS = {
    "raises as it is set up": ("on_set_up=lambda machine: 1 // 0", "cannot be set up: ZeroDivisionError"),
    "exits as it is set up": ("on_set_up=lambda machine: exit(3)", "cannot be set up: SystemExit: 3"),
    "raises for its rows": ("further_rows=lambda machine: 1 // 0", "cannot bring its hypercalls: ZeroDivisionError"),
    "brings rows that are none": ("further_rows=lambda machine: [7]", "cannot bring its hypercalls: TypeError"),
    "raises as it is torn down": ("on_tear_down=lambda machine: 1 // 0", "cannot be torn down: ZeroDivisionError"),
    "exits as it is torn down": ("on_tear_down=lambda machine: exit(3)", "cannot be torn down: SystemExit: 3"),
}


@pytest.mark.parametrize(("part", "says"), FAILS.values(), ids=FAILS)
def test_what_fails_on_a_machine_is_one_line(
    install: Install, guest: str, part: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    install("bad", f'PLUGIN = Plugin("bad", "1", (call,), {part})')
    line = complaint(capfd, "run", guest)
    assert line.startswith(f"pvkit: plugin {SOURCE} {says}")
    others_go_on("bad")


def test_a_guest_s_end_is_told_before_a_plugin_fails_to_end(
    install: Install, guest: str, capfd: pytest.CaptureFixture[str]
) -> None:
    install("bad", 'PLUGIN = Plugin("bad", "1", on_tear_down=lambda machine: 1 // 0)')
    assert main(["run", guest, "--stats"]) == 2
    out, error = capfd.readouterr()
    assert out == "hello, world\n"
    assert error.index("VMCALL console_write") < error.index("cannot be torn down")


CLASHES = {
    "number": ({"call": "tell"}, "", "0x8001"),
    "name": ({"number": 0x8002}, "", "hypercall name 'ask'"),
    "bit": ({"number": 0x8002, "call": "tell"}, ', (Feature("two", 40),)', "feature bit 40"),
    "feature": ({"number": 0x8002, "call": "tell"}, ', (Feature("one", 41),)', "feature name 'one'"),
}


@pytest.mark.parametrize(("where", "features", "says"), CLASHES.values(), ids=CLASHES)
def test_a_clash_names_both(
    install: Install,
    guest: str,
    where: dict[str, object],
    features: str,
    says: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    install("one", 'PLUGIN = Plugin("one", "1", (call,), (Feature("one", 40),))')
    install("two", f'PLUGIN = Plugin("two", "1", (call,){features})', **where)
    line = complaint(capfd, "run", guest)
    assert all(part in line for part in (says, "from pkg-one 1.5", "from pkg-two 1.5", "--no-plugin"))
    listed = complaint(capfd, "hypercalls", "list")
    assert all(part in listed for part in (says, "one", "two"))
    others_go_on("two")


def test_two_plugins_of_one_name_name_both(install: Install, guest: str, capfd: pytest.CaptureFixture[str]) -> None:
    install("one", PLAIN.format("one"))
    install("two", PLAIN.format("one"), point="one = installed_two:PLUGIN")
    for command in (["run", guest], ["hypercalls", "list"], ["hypercalls", "show", "ask"]):
        line = complaint(capfd, *command)
        assert "two plugins are named 'one'" in line
        assert all(part in line for part in ("from pkg-one 1.5", "from pkg-two 1.5", "--no-plugin"))
    others_go_on("one")


OPTIONS = {
    "store.limit=many": "option store.limit='many' is not a whole number from 1 to 9",
    "store.limit=10": "option store.limit=10 is not a whole number from 1 to 9",
    "store.limit=1.5": "option store.limit='1.5' is not",
    "store.limit=": "option store.limit='' is not",
    "store.limit": "has no value; write store.limit=VALUE",
    "store.limits=3": "did you mean 'store.limit'",
    "limit=3": "option 'limit' is not known",
    "store.=3": "option 'store.' is not known",
}


@pytest.mark.parametrize(("text", "says"), OPTIONS.items(), ids=OPTIONS)
def test_an_option_that_cannot_be_is_one_line(
    install: Install, guest: str, text: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    install("store", 'PLUGIN = Plugin("store", "1", options=(Option("limit", default=3, least=1, most=9),))')
    assert says in complaint(capfd, "run", guest, "-o", text)
    others_go_on("store")


def test_a_comparison_is_of_pvkit_alone(install: Install, capfd: pytest.CaptureFixture[str]) -> None:
    install("one", PLAIN.format("one"))
    install("two", PLAIN.format("two"))  # the same number: no machine that took both could be made
    assert main(["compare", "console", "--repeat", "1", "--scale", "0.01"]) == 0
    assert capfd.readouterr().err == ""


OWN_CLASS = """
class Own:
    name = "bad"
    calls = [7]
    def rows(self, machine): return []
    def set_up(self, machine): ...
    def tear_down(self, machine): ...
PLUGIN = Own()
"""


def test_a_plugin_of_a_class_of_its_own_with_calls_that_are_none(
    install: Install, guest: str, capfd: pytest.CaptureFixture[str]
) -> None:
    install("bad", OWN_CLASS)
    assert main(["run", guest]) == 0  # a machine asks for its rows alone
    capfd.readouterr()
    assert "plugin 'bad': 7 is not a hypercall" in complaint(capfd, "hypercalls", "list")
    assert main(["doctor"]) == 0
    assert "7 is not a hypercall" in capfd.readouterr().out


@pytest.mark.parametrize("point", ["bad = not a module!", "bad ="])
def test_an_entry_point_of_no_form(install: Install, guest: str, point: str, caplog: pytest.LogCaptureFixture) -> None:
    install("bad", "", point=point)
    assert main(["run", guest]) == 0
    assert [line.endswith("its entry point is not of the form module:ATTRIBUTE") for line in caplog.messages] == [True]


def test_entry_points_that_cannot_be_read(install: Install, guest: str, capfd: pytest.CaptureFixture[str]) -> None:
    install("bad", "", point="bad")  # a line without an equals sign
    for command in (["run", guest], ["hypercalls", "list"], ["compare", "console"]):
        assert "pkg-bad 1.5 has entry points that cannot be read" in complaint(capfd, *command)
    assert main(["doctor"]) == 0
    assert "pkg-bad 1.5 has entry points that cannot be read" in capfd.readouterr().out
