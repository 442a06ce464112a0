"""Parties' rows into one table: collisions name both, options are known."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from hypercalls import Feature
from pv.assembly import ask, build_table, claim_features, find_members, known_options, rows_of
from pv.dispatch import Collision, Row, Shape
from pv.exits import NEXT, Reason
from pv.options import Option
from pv.plugin import LoadedPlugin, PluginError
from pv.techniques import TECHNIQUES


def row(number: int, name: str, owner: str = "someone") -> Row:
    return Row(Reason.VMCALL, number, number, lambda: 0, owner, name, Shape.CALL)


def test_rows_and_numbers_of_all_parties() -> None:
    halt = Row(Reason.HLT, 0, 0, lambda _exit: NEXT, "technique", "HLT")
    table, numbers = build_table([("technique", [halt]), ("core", [row(1, "one"), row(2, "two")])])
    assert numbers == {"one": 1, "two": 2}
    assert {found.name for found in table} == {"HLT", "one", "two"}


def test_wrappers_are_applied_in_turn() -> None:
    def renamed(suffix: str) -> object:
        return lambda rows: [dataclasses.replace(one, name=one.name + suffix) for one in rows]

    table, numbers = build_table([("core", [row(1, "one")])], renamed("-a"), renamed("-b"))  # type: ignore[arg-type]
    assert [one.name for one in table] == ["one-a-b"]
    assert numbers == {"one": 1}


def test_one_number_twice_names_both_parties() -> None:
    with pytest.raises(Collision, match=r"0x8001.*first.*second.*\[pkg-a 1 \| pkg-b 2\]"):
        build_table([("pkg-a 1", [row(0x8001, "one", "first")]), ("pkg-b 2", [row(0x8001, "two", "second")])])


def test_one_name_twice_names_both_parties() -> None:
    with pytest.raises(Collision, match=r"'greet'.*pkg-a 1 \(0x8001\).*pkg-b 2 \(0x8002\)"):
        build_table([("pkg-a 1", [row(0x8001, "greet")]), ("pkg-b 2", [row(0x8002, "greet")])])


def test_hypercalls_given_are_members() -> None:
    given = SimpleNamespace(name="greet", rows=lambda _machine: [])
    members, reports = find_members(TECHNIQUES["paravirt"], [given], plugins=False, disabled=(), strict=False)
    assert [(member.name, member.plugin) for member in members] == [("greet", given)]
    assert reports == []


def test_what_is_no_hypercall_is_refused() -> None:
    with pytest.raises(TypeError, match="decorate it with @hypercall"):
        find_members(TECHNIQUES["paravirt"], [print], plugins=False, disabled=(), strict=False)


def test_two_plugins_of_one_name_are_refused() -> None:
    one, two = (SimpleNamespace(name="twin", rows=lambda _machine: [], set_up=lambda _machine: None) for _ in range(2))
    with pytest.raises(Collision, match=r"plugin name 'twin' is claimed by twin, given.*and by twin, given"):
        find_members(TECHNIQUES["paravirt"], [one, two], plugins=False, disabled=(), strict=False)


def test_a_technique_without_hypercalls_refuses_them() -> None:
    given = SimpleNamespace(name="greet", rows=lambda _machine: [])
    with pytest.raises(ValueError, match="'trap' takes no hypercalls"):
        find_members(TECHNIQUES["trap"], [given], plugins=False, disabled=(), strict=False)
    assert find_members(TECHNIQUES["trap"], [], plugins=True, disabled=(), strict=False) == ([], [])


def member(name: str, **parts: Any) -> LoadedPlugin:
    return LoadedPlugin(name, SimpleNamespace(name=name, rows=lambda _machine: [], **parts), f"{name} of pkg-{name} 1")


def test_options_are_known_by_their_plugin_s_name() -> None:
    own, limit = Option("monitor_pages"), Option("limit", default=3)
    members = [member("store", options=(limit,)), member("plain")]
    assert known_options([own], members) == {"monitor_pages": own, "store.limit": limit}


def test_features_are_claimed_by_one_plugin_each() -> None:
    members = [member("a", own_features=(Feature("first", 32), Feature("last", 62))), member("plain")]
    assert claim_features(members) == {"first": 32, "last": 62}


@pytest.mark.parametrize(
    ("feature", "says"),
    [
        (Feature("other", 40), r"feature bit 40 is claimed by a of pkg-a 1 and by b of pkg-b 1; leave one out"),
        (Feature("shared", 41), r"feature name 'shared' is claimed by a of pkg-a 1 and by b of pkg-b 1"),
    ],
)
def test_one_feature_twice_names_both_parties(feature: Feature, says: str) -> None:
    with pytest.raises(Collision, match=says):
        claim_features([member("a", own_features=(Feature("shared", 40),)), member("b", own_features=(feature,))])


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3)])
def test_whose_a_failure_is_gets_said(error: BaseException) -> None:
    with pytest.raises(PluginError, match=r"plugin a of pkg-a 1 cannot be set up: (KeyError: 'x'|SystemExit: 3)"):
        ask(member("a"), "cannot be set up", raising, error)
    assert ask(member("a"), "cannot be set up", max, 3, 4) == 4


def test_an_interrupt_is_nobody_s_failure() -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(member("a"), "cannot be set up", raising, KeyboardInterrupt())


def test_rows_are_rows() -> None:
    one = row(1, "one")
    given = LoadedPlugin("a", SimpleNamespace(rows=lambda machine: iter([one, machine])), "a")
    assert rows_of(given, one) == [one, one]
    with pytest.raises(TypeError, match=r"7 is no pv\.dispatch\.Row"):
        rows_of(given, 7)
