"""How machines end: each way once, in the right order, and with what a person should know."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from hypercalls import Plugin
from pv import Machine
from pv.disk import Disk
from pv.plugin import PluginError


def plugin(name: str, ends: list[str], error: Exception | None = None) -> Plugin:
    def tear_down(_machine: object) -> None:
        ends.append(name)
        if error is not None:
            raise error

    return Plugin(name, "1", on_tear_down=tear_down)


def test_plugins_end_in_the_reverse_order_and_once() -> None:
    ends: list[str] = []
    machine = Machine(hypercalls=[plugin("one", ends), plugin("two", ends)])
    machine.close()
    machine.close()
    assert ends == ["two", "one"]


def test_a_plugin_that_cannot_end_is_named_once_all_is_freed() -> None:
    ends: list[str] = []
    machine = Machine(hypercalls=[plugin("one", ends), plugin("two", ends, OSError("gone"))])
    with pytest.raises(PluginError, match=r"two.*cannot be torn down: OSError: gone"):
        machine.close()
    assert ends == ["two", "one"]
    with pytest.raises(RuntimeError, match="the machine is closed"):
        machine.run()


def test_an_error_under_way_is_not_hidden_by_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError), Machine(hypercalls=[plugin("one", [], OSError("gone"))]):
        raise KeyError
    assert "OSError: gone" in caplog.text


def test_a_machine_that_is_dropped_is_freed_without_a_collection() -> None:
    ends: list[str] = []
    gc.disable()
    try:
        machine = Machine(hypercalls=[plugin("one", ends)])
        left = weakref.ref(machine)
        del machine
        assert left() is None
    finally:
        gc.enable()
    assert ends == ["one"]


def test_disks_opened_for_a_machine_close_with_it_and_others_do_not(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(bytes(512))
    own = Disk(image)
    with Machine(disks=[image, own]) as machine:
        opened = machine.disks[0]
    data = memoryview(bytearray(512))
    with pytest.raises(OSError, match="Bad file descriptor"):
        opened.read_into(data, 0)
    assert own.read_into(data, 0) == 512
    own.close()


def test_a_machine_that_could_not_be_made_gives_everything_back() -> None:
    ends: list[str] = []
    with pytest.raises(ValueError, match="nothing_such"):
        Machine(hypercalls=[plugin("one", ends)], grants=["nothing_such"])
    assert ends == ["one"]
