"""What a person says about plugins: quotas and options as text, and which plugins are left out, in each command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pv.cli import main
from pv.cli.choices import installed, read_options, read_quotas
from pv.cli.complaint import Complaint

Install = Callable[..., str]
STORE = """
PLUGIN = Plugin("store", "1", (call,), (Feature("store", 40),), options=(Option("limit", default=3, help="most"),),
                on_set_up=lambda machine: print("limit", machine.options["store.limit"]))
"""


def test_quotas() -> None:
    assert read_quotas(["a=0", "b=12"]) == {"a": 0, "b": 12}
    for text in ("a", "a=", "=5", "a=-1", "a=1.5", "a=\u0664"):
        with pytest.raises(Complaint, match="is not CALL=N"):
            read_quotas([text])


def test_options_are_of_the_plugins_that_the_machine_will_have(install: Install) -> None:
    install("store", STORE)
    assert read_options(["store.limit=7"], "paravirt", (), False) == {"store.limit": 7}
    for technique, disabled in (("paravirt", ["store"]), ("trap", [])):
        with pytest.raises(Complaint, match=r"'store\.limit' is not known"):
            read_options(["store.limit=7"], technique, disabled, False)


def test_no_option_asks_for_no_plugin() -> None:
    assert read_options([], "no such technique", ["no such plugin"], True) == {}


def test_the_registry_of_what_is_installed(install: Install) -> None:
    install("store", STORE)
    install("broken", "raise ValueError('no')")
    assert installed((), False).find("ask").owner == "store"
    assert "ask" not in installed(["store"], False).by_name
    with pytest.raises(Complaint, match=r"plugin broken .* cannot be used"):
        installed((), True)
    with pytest.raises(Complaint, match="no plugin is named 'shop'"):
        installed(["shop"], False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "limit 3\n"),
        (["-o", "store.limit=9"], "limit 9\n"),
        (["--no-plugin", "store"], ""),
    ],
)
def test_run(install: Install, guest: str, arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    install("store", STORE)
    assert main(["run", guest, *arguments]) == 0
    out, error = capfd.readouterr()
    assert sorted(out.splitlines()) == sorted([*says.splitlines(), "hello, world"])
    assert error == ""


def test_a_call_that_is_not_granted_and_one_over_its_quota(guest: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", guest, "--grant", "exit"]) == 0
    assert main(["run", guest, "--quota", "console_write=0"]) == 0
    assert capfd.readouterr() == ("", "")


def test_hypercalls_commands_show_it_and_leave_it_out(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("store", STORE)
    shown = {}
    for command in (["list"], ["show", "store"], ["options"], ["header", "c"]):
        assert main(["hypercalls", *command]) == 0
        shown[command[0]] = " ".join(capsys.readouterr().out.split())
    assert "0x8001 ask() store an integer" in shown["list"]
    assert "bit feature owner 40 store store" in shown["list"]
    assert "store.limit a whole number 3 most" in shown["list"]
    assert "store 1 calls: 0x8001 ask() feature bits: 40 store options: store.limit: a whole number" in shown["show"]
    assert "store.limit a whole number 3 most" in shown["options"]
    assert "monitor_pages a whole number from 16" in shown["options"]
    assert "#define PVKIT_FEATURE_STORE 0x10000000000" in shown["header"]
    assert "#define PVKIT_CALL_ASK 0x8001" in shown["header"]
    for command in (["list"], ["options"], ["header", "asm"]):
        assert main(["hypercalls", *command, "--no-plugin", "store"]) == 0
        assert "store" not in capsys.readouterr().out.lower()
    assert main(["hypercalls", "show", "ask", "--no-plugin", "store"]) == 2
    assert "no hypercall is named 'ask'" in capsys.readouterr().err
