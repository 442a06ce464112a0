from errno import E2BIG, EFAULT, EINVAL, ENOENT

import pytest

from guest_sdk import abi
from hypercalls import console, core, events
from hypercalls.core import feature_bits
from pv.exits import AGAIN, panic, stop


@pytest.fixture
def booted(machine):
    return machine.add(core.PLUGIN, console.PLUGIN)


def test_version(booted):
    assert booted.ask("abi_version") == abi.VERSION


def test_features_are_those_of_the_calls_that_are_there(booted):
    few = sum(1 << abi.FEATURES[name] for name in ("inline_vmcall", "console", "guest_calls"))
    assert booted.ask("abi_features") == few
    booted.add(events.PLUGIN)
    assert booted.ask("abi_features") == few | 1 << abi.FEATURES["events"] == feature_bits(booted)


def test_every_feature_has_its_call():
    assert {"inline_vmcall", *core.FEATURE_CALLS} == set(abi.FEATURES)
    assert set(core.FEATURE_CALLS.values()) <= set(abi.BY_NAME)


@pytest.mark.parametrize(("name", "number"), [("exit", 0x1003), ("console_write", 0x1010), ("nothing", -ENOENT)])
def test_query(booted, name, number):
    booted.memory.write(0x100, name.encode())
    assert booted.ask("abi_query", 0x100, len(name)) == number


def test_query_of_hostile_names(booted):
    booted.memory.write(0x100, b"\xff\xfe")
    assert booted.errno("abi_query", 0x100, 2) == EINVAL
    assert booted.errno("abi_query", booted.memory.size_bytes, 1) == EFAULT
    assert booted.errno("abi_query", 0, 1 << 63) == E2BIG


@pytest.mark.parametrize(("status", "given"), [(0, 0), (7, 7), (0x1FF, 0xFF), ((1 << 64) - 1, 0xFF)])
def test_exit_stops_with_the_low_byte(booted, status, given):
    assert booted.ask("exit", status) == stop(given)


def test_a_return_is_handed_to_the_engine(booted):
    assert booted.ask("call_return", 5, 6) is AGAIN
    assert booted.vcpu.told == [("end_call", 5, 6)]


@pytest.mark.parametrize(
    ("message", "shown"),
    [(b"main.c:12: x > 0", "main.c:12: x > 0"), (b"", ""), (b"\xff\xc3\xa5", "\\xffå"), (b"y" * 5000, "y" * 4096)],
)
def test_panic_stops_with_the_message(booted, message, shown):
    booted.memory.write(0x2000, message)
    assert booted.ask("panic", 0x2000, len(message)) == panic(shown)


@pytest.mark.parametrize(("gpa", "size_bytes"), [(1 << 63, 1), ((1 << 64) - 1, 1 << 63), ("end", 2)])
def test_a_message_outside_memory_keeps_no_guest_from_giving_up(booted, gpa, size_bytes):
    gpa = booted.memory.size_bytes - 1 if gpa == "end" else gpa
    assert booted.ask("panic", gpa, size_bytes) == panic(f"(its message at {gpa:#x} is outside guest memory)")
