from pathlib import Path

import pytest

from hypercalls.call import hypercall
from hypercalls.feature import Feature
from hypercalls.plugin import Plugin
from pv.dispatch import Row
from pv.exits import NEXT, Reason
from pv.options import Option


@hypercall(0x8001, "count")
def count(machine) -> int:
    machine.state["counter"].append(1)
    return len(machine.state["counter"])


@hypercall(0x8001, "other")
def other(machine) -> int:
    return machine.memory.size_bytes


def test_state_is_kept_by_the_plugin_s_name(machine):
    ended = []
    plugin = Plugin("counter", "1", (count,), on_set_up=lambda _: [], on_tear_down=ended.append)
    assert plugin.set_up(machine) is machine.state["counter"]
    machine.add(plugin)
    assert [machine.ask("count"), machine.ask("count")] == [1, 2]
    plugin.tear_down(machine)
    assert ended == [machine]


def test_rows_are_owned_by_the_plugin_and_followed_by_its_others(machine):
    leaf = Row(Reason.CPUID, 1, 1, lambda _: NEXT, "counter")
    plugin = Plugin("counter", "1", (count,), further_rows=lambda _: [leaf])
    first, second = plugin.rows(machine)
    assert (first.owner, first.name) == ("counter", "count")
    assert second is leaf


def test_a_plugin_may_keep_nothing(machine):
    plugin = Plugin("plain", "1")
    assert plugin.set_up(machine) is None
    plugin.tear_down(machine)
    assert list(plugin.rows(machine)) == []


def test_a_function_without_its_decorator_is_named():
    with pytest.raises(TypeError, match=r"plugin 'plain'.*decorate it with @hypercall"):
        Plugin("plain", "1", (print,))


@pytest.mark.parametrize("name", ["", "A", "a.b", "a b"])
def test_names(name):
    with pytest.raises(ValueError, match="plugin name"):
        Plugin(name, "1")


@pytest.mark.parametrize(
    ("parts", "error", "says"),
    [
        ({"features": ("kvstore",)}, ValueError, r"'kvstore' is no feature of pvkit; give it a bit of its own"),
        ({"options": ("limit",)}, TypeError, "'limit' is not an option"),
        ({"options": (Option("a"), Option("a"))}, ValueError, "has two options called 'a'"),
        ({"features": (Feature("a", 40), Feature("a", 41))}, ValueError, "has two features called 'a'"),
        ({"features": (Feature("a", 40), Feature("b", 40))}, ValueError, "has two features called 'bit 40'"),
        ({"calls": (count, count)}, ValueError, "has two calls called 'count'"),
        ({"calls": (count, other)}, ValueError, "has two calls called 'number 0x8001'"),
        ({"calls": count}, TypeError, r"calls=.* is no tuple; write calls=\(call,\)"),
        ({"options": Option("a")}, TypeError, r"options=.* is no tuple; write options=\(option,\)"),
        ({"features": "memory"}, TypeError, r"features='memory' is no tuple"),
        ({"c_sources": Path(__file__)}, TypeError, r"c_sources=.* is no tuple"),
        ({"c_include": "include"}, TypeError, "c_include 'include' is not a pathlib.Path"),
        ({"c_include": Path("/no/such")}, ValueError, "c_include /no/such is no directory; does the package ship it"),
        ({"c_sources": (Path(__file__).parent,)}, ValueError, "is no file; does the package ship it"),
    ],
)
def test_what_a_plugin_cannot_bring(parts, error, says):
    with pytest.raises(error, match=f"plugin 'plain'.*{says}"):
        Plugin("plain", "1", **parts)


def test_own_features_are_apart_from_pvkit_s():
    plugin = Plugin("plain", "1", features=("console", Feature("plain", 32)))
    assert plugin.own_features == (Feature("plain", 32),)


def test_files_that_are_there():
    here = Path(__file__)
    plugin = Plugin("plain", "1", c_include=here.parent, c_sources=(here,))
    assert (plugin.c_include, plugin.c_sources) == (here.parent, (here,))
