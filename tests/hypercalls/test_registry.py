# ruff: noqa: ARG001 (handlers are written to be registered, not to use what they take)
import pytest

from guest_sdk import abi
from hypercalls import block, clock, console, core, cpu, events, memory, multicall, ring, timer
from hypercalls.arguments import GuestString
from hypercalls.call import hypercall
from hypercalls.plugin import Plugin
from hypercalls.registry import Registry
from pv.dispatch import Collision

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
