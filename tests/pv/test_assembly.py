"""Parties' rows into one table: collisions name both, options are known."""

import dataclasses
from types import SimpleNamespace

import pytest

from pv.assembly import build_table, check_options, find_members
from pv.dispatch import Collision, Row, Shape
from pv.exits import NEXT, Reason
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pages": 1}, "option 'pages' is not known: monitor_pages, or PLUGIN.NAME with PLUGIN of clock, core"),
        ({"cores.x": 1}, "option 'cores.x' is not known"),
        ({"monitor_pages": 0}, "monitor_pages=0 is not a whole number above 0"),
        ({"monitor_pages": "9"}, "monitor_pages='9' is not a whole number above 0"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_options(options, ["monitor_pages"], ["core", "clock"])


def test_options_that_can_be() -> None:
    check_options({"monitor_pages": 9, "core.anything": "at all"}, ["monitor_pages"], ["core"])
    check_options({}, [], [])
