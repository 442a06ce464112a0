import pytest

from hypercalls.call import hypercall
from hypercalls.plugin import Plugin
from pv.dispatch import Row
from pv.exits import NEXT, Reason


@hypercall(0x8001, "count")
def count(machine) -> int:
    machine.state["counter"].append(1)
    return len(machine.state["counter"])


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
