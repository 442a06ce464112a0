"""The committed headers are those that abi.py gives, and the live registry of the built-ins is the ABI's table."""

from __future__ import annotations

from importlib import import_module

import pytest

from guest_sdk import abi
from guest_sdk.headers import FILES, INCLUDE
from hypercalls import Plugin, Registry

FAMILIES = ("core", "console", "clock", "memory", "cpu", "events", "multicall", "timer", "ring", "block")


@pytest.mark.parametrize("name", FILES)
def test_committed_header_is_the_generated_one(name: str) -> None:
    assert (INCLUDE / name).read_text(encoding="utf-8") == FILES[name](), "run: python -m guest_sdk.headers"


@pytest.fixture(scope="module")
def built_in() -> Registry:
    plugins: list[Plugin] = [import_module(f"hypercalls.{family}").PLUGIN for family in FAMILIES]
    return Registry(plugins)


def test_the_registry_has_the_calls_of_the_abi(built_in: Registry) -> None:
    live = {(listed.call.number, listed.call.name, listed.call.user_allowed) for listed in built_in}
    assert live == {(call.number, call.name, call.user_allowed) for call in abi.CALLS}


@pytest.mark.parametrize("call", abi.CALLS, ids=lambda call: call.name)
def test_a_call_takes_the_arguments_of_the_abi(call: abi.Call, built_in: Registry) -> None:
    assert built_in.find(call.name).call.arguments == call.arguments


def test_numbers_and_names_are_unique() -> None:
    assert len({call.number for call in abi.CALLS}) == len(abi.BY_NAME) == len(abi.CALLS)
