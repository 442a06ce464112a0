# ruff: noqa: ARG001 (handlers are written to be registered, not to use what they take)
from pathlib import Path

import pytest

from guest_sdk import abi
from hypercalls import block, clock, console, core, cpu, events, memory, multicall, ring, timer
from hypercalls.arguments import GuestBuffer, GuestString
from hypercalls.call import hypercall
from hypercalls.document import ReplyDocument
from hypercalls.feature import Feature
from hypercalls.plugin import Plugin
from hypercalls.registry import Registry
from pv.dispatch import Collision
from pv.options import Option

FAMILIES = [module.PLUGIN for module in (core, console, clock, timer, memory, cpu, events, multicall, ring, block)]


@hypercall(0x8001, "greet")
def greet(machine, name: GuestString) -> int:
    """Say hello."""
    return 0


@hypercall(0x8001, "part")
def part(machine) -> int:
    return 0


@hypercall(0x8002, "greet")
def greet_again(machine) -> int:
    return 0


def test_the_live_registry_is_the_contract():
    live = [
        abi.Call(call.number, call.name, call.arguments, call.result, call.user_allowed, abi.BY_NAME[call.name].jumps)
        for call in (listed.call for listed in Registry(FAMILIES))
    ]
    assert live == list(abi.CALLS)


def test_features_that_the_families_bring_are_the_contract_s():
    assert {name for plugin in FAMILIES for name in plugin.features} == set(abi.FEATURES)


def test_every_built_in_is_documented():
    assert [listed.call.name for listed in Registry(FAMILIES) if not listed.call.doc] == []


def test_in_order_of_numbers_and_found_by_name():
    registry = Registry([Plugin("hello", "1", (greet,)), *FAMILIES])
    numbers = [listed.call.number for listed in registry]
    assert numbers == sorted(numbers)
    assert len(registry) == len(abi.CALLS) + 1
    assert registry.find("greet").owner == "hello"


def test_one_number_twice_names_both():
    with pytest.raises(Collision, match=r"0x8001 is claimed by hello \(greet\) and by bye \(part\)"):
        Registry([Plugin("hello", "1", (greet,)), Plugin("bye", "1", (part,))])


def test_one_name_twice_names_both():
    with pytest.raises(Collision, match=r"'greet' is claimed by hello \(0x8001\) and by .*greet_again \(0x8002\)"):
        Registry([Plugin("hello", "1", (greet,)), greet_again])


def test_features_and_options_of_plugins_are_told():
    store = Plugin("store", "1.5", (greet,), (Feature("kv", 40),), options=(Option("limit", default=3, help="most"),))
    registry = Registry([store, *FAMILIES])
    assert registry.features == {"kv": 40}
    assert registry.feature_owner("kv") == "store"
    assert list(registry.options) == ["store.limit"]
    assert registry.plugin_text("store").splitlines() == [
        "store 1.5",
        "",
        "calls:",
        "  0x8001  greet(name_gpa: u64, name_bytes: u64)",
        "",
        "feature bits:",
        "  40  kv",
        "",
        "options:",
        "  store.limit: a whole number; 3 where not set; most",
    ]


def test_files_for_c_guests_are_told():
    here = Path(__file__)
    text = Registry([Plugin("c", "1", c_include=here.parent, c_sources=(here,))]).plugin_text("c")
    assert text.splitlines() == ["c 1", "", "for C guests:", f"  {here.parent}", f"  {here}"]


@pytest.mark.parametrize(
    ("feature", "says"),
    [(Feature("b", 40), "feature bit 40 is claimed by one and by two"), (Feature("a", 41), "feature name 'a' is")],
)
def test_one_feature_twice_names_both(feature, says):
    with pytest.raises(Collision, match=says):
        Registry([Plugin("one", "1", features=(Feature("a", 40),)), Plugin("two", "1", features=(feature,))])


def test_two_plugins_of_one_name_are_refused():
    with pytest.raises(
        Collision,
        match="two plugins are named 'one'; uninstall one, leave it out with --no-plugin, or give it another name",
    ):
        Registry([Plugin("one", "1"), Plugin("one", "2")])


def test_rows_for_headers_are_those_of_the_abi():
    rows = {row.name: row for row in Registry([*FAMILIES, greet]).abi_calls()}
    assert rows["return_from_event"] == abi.BY_NAME["return_from_event"]
    assert rows["greet"] == abi.Call(0x8001, "greet", (("name_gpa", 64), ("name_bytes", 64)), "")


def test_what_a_handler_writes_is_known():
    @hypercall(0x8003, "ask")
    def ask(machine, question: GuestString, answer: ReplyDocument, raw: GuestBuffer) -> int:
        return 0

    assert Registry([ask, greet]).writes() == {"ask": ("answer_gpa", "raw_gpa")}


def test_an_unknown_name_is_answered_with_the_nearest():
    registry = Registry(FAMILIES)
    with pytest.raises(KeyError, match="did you mean 'multicall'"):
        registry.find("multical")
    with pytest.raises(KeyError, match="pvkit hypercalls list"):
        registry.find("zzzz")


def test_text_says_all_that_is_known():
    text = Registry([Plugin("hello", "1", (greet,))]).find("greet").text()
    for part_of_it in (
        "0x8001  greet(name_gpa: u64, name_bytes: u64)",
        "Say hello.",
        "name_gpa, name_bytes: UTF-8 text, at most 4096 bytes",
        "owner: hello",
        "refused with -EPERM",
    ):
        assert part_of_it in text


def test_an_outline_gives_only_the_widths_that_differ() -> None:
    registry = Registry(FAMILIES)
    assert registry.find("map").outline() == "map(gva, gpa, pages, flags: u32)"
    assert registry.find("abi_version").outline() == "abi_version()"
