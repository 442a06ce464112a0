"""A machine put together, run and closed, on the scripted engine."""

import dataclasses
import gc
import io
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guest_sdk import abi
from pv.console import Console
from pv.dispatch import Collision, Row, Shape
from pv.engines.scripted import Step, call, port_out, script
from pv.exits import Exit, GuestError, Reason, StopWhy, stop
from pv.loaders import LoadError, load
from pv.machine import Machine
from pv.options import Option
from pv.plugin import PluginError

GUEST = b"\x0f\x01\xc1" * 4
GREET, NEST, END, BREAK = 0x8001, 0x8002, 0x8003, 0x8004


class Family:
    """A plugin with a call of each kind that a machine must bear."""

    options = (Option("depth", least=1), Option("speed", str, default="slow"))

    def __init__(self, name: str = "family", first: int = GREET) -> None:
        self.name = name
        self.first = first
        self.log: list[str] = []

    def set_up(self, machine: Machine) -> dict[str, int]:
        self.log.append(f"set up over {machine.memory.size_bytes:#x}")
        return {"calls": 0}

    def rows(self, machine: Machine) -> Iterator[Row]:
        def greet(value: int) -> int:
            machine.state[self.name]["calls"] += 1
            machine.console.write(f"hello {value}")
            return int(machine.state[self.name]["calls"])

        def fail() -> int:
            raise ZeroDivisionError("a handler of ours")

        handlers: list[Callable[..., Any]] = [greet, lambda: machine.run(), lambda: stop(7), fail]
        for number, (name, handler) in enumerate(zip(("greet", "nest", "end", "fail"), handlers, strict=True)):
            key = self.first + number
            bits = (64,) if name == "greet" else ()
            yield Row(Reason.VMCALL, key, key, handler, self.name, name, Shape.CALL, bits)

    def tear_down(self, machine: Machine) -> None:
        self.log.append(f"torn down over {machine.memory.size_bytes:#x}")


def make(*steps: Step, **options: Any) -> Machine:
    options = {"hypercalls": [Family()], "plugins": False, "memory": "2MiB", **options}
    return Machine(engine=script(*steps), **options)


def loaded(*steps: Step, **options: Any) -> Machine:
    machine = make(*steps, **options)
    machine.load(GUEST)
    return machine


def test_a_guest_runs_to_its_end() -> None:
    with loaded(call(GREET, 5), call(GREET, 6), call(END)) as machine:
        outcome = machine.run()
    assert (outcome.why, outcome.status, outcome.console) == (StopWhy.EXITED, 7, "hello 5hello 6")
    assert outcome.calls == {"greet": 2, "end": 1}
    assert outcome.by_key == {("VMCALL", "greet"): 2, ("VMCALL", "end"): 1}
    assert outcome is machine.outcome


def test_plugins_are_set_up_and_torn_down() -> None:
    family = Family()
    machine = make(hypercalls=[family])
    assert machine.call_numbers == {"greet": GREET, "nest": NEST, "end": END, "fail": BREAK}
    assert machine.state == {"family": {"calls": 0}}
    machine.close()
    machine.close()
    assert family.log == ["set up over 0x200000", "torn down over 0x200000"]


def test_what_is_torn_down_badly_still_frees_the_rest() -> None:
    bad, good = Family(), Family("other", 0x8100)
    bad.tear_down = lambda _machine: 1 // 0  # type: ignore[method-assign, assignment]
    good.rows = lambda _machine: iter(())  # type: ignore[method-assign, assignment]
    machine = make(hypercalls=[bad, good])
    with pytest.raises(PluginError, match=r"plugin family, given as hypercalls= cannot be torn down: ZeroDivision"):
        machine.close()
    machine.close()
    assert good.log[-1].startswith("torn down")
    with pytest.raises(ValueError, match="released"):
        machine.memory.read(0, 1)


def test_the_guest_may_go_on_after_a_budget_and_not_after_its_end() -> None:
    with loaded(call(GREET, 1), call(GREET, 2), call(END)) as machine:
        assert machine.run(max_exits=1).why is StopWhy.MAX_EXITS
        outcome = machine.run(timeout=5)
        assert (outcome.why, outcome.exits.total) == (StopWhy.EXITED, 3)
        with pytest.raises(RuntimeError, match="the guest has ended: exited with status 7"):
            machine.run()


def test_a_handlers_exception_leaves_and_the_guest_goes_on() -> None:
    with loaded(call(BREAK), call(END)) as machine:
        with pytest.raises(ZeroDivisionError, match="a handler of ours"):
            machine.run()
        assert machine.run().status == 7


def test_a_nested_run_and_a_close_inside_are_refused() -> None:
    with loaded(call(NEST), call(END)) as machine:
        with pytest.raises(RuntimeError, match="runs already"):
            machine.run()
        assert machine.run().status == 7


def test_closing_inside_a_handler_is_refused() -> None:
    closer = SimpleNamespace(
        name="closer",
        rows=lambda machine: [Row(Reason.VMCALL, GREET, GREET, lambda: machine.close(), "test", "c", Shape.CALL)],
    )
    with loaded(call(GREET), hypercalls=[closer]) as machine, pytest.raises(RuntimeError, match="is running"):
        machine.run()


def test_what_needs_a_guest_or_an_open_machine_says_so() -> None:
    machine = make()
    with pytest.raises(RuntimeError, match="no guest"):
        machine.run()
    machine.load(GUEST)
    with pytest.raises(RuntimeError, match="has a guest already"):
        machine.load(GUEST)
    machine.close()
    for act in (machine.run, machine.stop, lambda: machine.load(GUEST), lambda: machine.patch(0, b"")):
        with pytest.raises(RuntimeError, match="closed"):
            act()


def test_stop_from_another_thread() -> None:
    with loaded(call(GREET, 1), call(END)) as machine:
        thread = threading.Thread(target=machine.stop, args=(4,))
        thread.start()
        thread.join()
        outcome = machine.run()
        assert (outcome.why, outcome.status) == (StopWhy.STOPPED, 4)
        assert machine.run().status == 7


def test_load_takes_a_path_and_refuses_what_is_no_guest(tmp_path: Path) -> None:
    path = tmp_path / "guest.bin"
    path.write_bytes(GUEST)
    with make() as machine:
        machine.load(str(path))
        assert machine.memory.read(abi.LOAD_FIRST, len(GUEST)) == GUEST
        assert machine.image is not None
    with make() as machine:
        with pytest.raises(FileNotFoundError):
            machine.load(tmp_path / "none")
        with pytest.raises(LoadError, match="empty"):
            machine.load(b"")
        machine.load(GUEST)


def test_patch_writes_code_within_memory() -> None:
    with make() as machine:
        machine.patch(0x1000, b"\xf4")
        assert machine.memory.read(0x1000, 1) == b"\xf4"
        with pytest.raises(GuestError):
            machine.patch(2 << 20, b"\xf4")


def test_grants_quotas_and_trace_are_put_around_the_rows() -> None:
    stream = io.StringIO()
    steps = call(GREET, 1), call(GREET, 2), call(NEST)
    with loaded(*steps, grants=["greet"], quotas={"greet": 1}, trace=stream) as machine:
        outcome = machine.run()
    assert outcome.console == "hello 1"
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["0x1", "-EAGAIN", "-EPERM"]


def test_the_pc_is_there_for_an_unmodified_guest() -> None:
    steps = [port_out(0x3F8, byte) for byte in b"ok"]
    with loaded(*steps, port_out(abi.DEBUG_EXIT_PORT, 3), technique="trap", hypercalls=()) as machine:
        outcome = machine.run()
        assert machine.pc is not None
    assert (outcome.status, outcome.console) == (3, "ok")
    assert outcome.exits == {"IO_INSTRUCTION": 3}
    assert make().pc is None


def test_a_guest_made_for_hypercalls_is_noted_under_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pv.machine.load", lambda data, size: dataclasses.replace(load(data, size), abi_version=1))
    with make(technique="trap", hypercalls=()) as machine:
        machine.load(GUEST)
        assert machine.notes == [
            "the guest is made for hypercalls, which technique 'trap' does not take; technique 'paravirt' does"
        ]


def test_a_console_is_taken_or_made() -> None:
    console = Console()
    assert make(console=console).console is console
    seen: list[bytes] = []
    with loaded(call(GREET, 1), console=seen.append) as machine:
        machine.run()
    assert seen == [b"hello 1"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"memory": "much"}, ValueError, "size 'much'"),
        ({"memory": "4K"}, ValueError, "between 1MiB and 64GiB"),
        ({"technique": "magic"}, ValueError, "magic"),
        ({"engine": "qemu"}, ValueError, "engine 'qemu' is not known: unicorn"),
        ({"hypercalls": [1]}, TypeError, "1 is no hypercall"),
        ({"hypercalls": [Family(), Family("b")]}, Collision, "claimed by family.*and by b"),
        ({"options": {"speed": 9}}, ValueError, "option 'speed' is not known; did you mean 'family.speed'"),
        ({"options": {"family.depth": "3"}}, ValueError, "family.depth='3' is not a whole number from 1 on"),
        ({"options": {"monitor_pages": 0}}, ValueError, "monitor_pages=0 is not a whole number from 16 to"),
        ({"options": ["family.depth"]}, TypeError, "is not a mapping"),
        ({"grants": ["all"]}, ValueError, "no hypercall is named 'all'"),
        ({"quotas": {"greet": -1}}, ValueError, "greet allows -1"),
        ({"trace": 7}, TypeError, "trace: int"),
        ({"grants": "exit"}, TypeError, "grants='exit' is not a list"),
    ],
)
def test_arguments_that_cannot_be(options: dict[str, Any], error: type[Exception], message: str) -> None:
    options = {"engine": script(), "hypercalls": [Family()], "plugins": False, "memory": "2MiB", **options}
    with pytest.raises(error, match=message):
        Machine(**options)


def test_engine_options_reach_the_engine() -> None:
    with make(options={"monitor_pages": 99, "family.depth": 3}) as machine:
        assert (machine.options["family.depth"], machine.options["family.speed"]) == (3, "slow")
        assert machine.vcpu.options["monitor_pages"] == 99
        assert machine.vcpu.options["translation_buffer_bytes"] == 1 << 20
        assert machine.vcpu.options["mode"] == "paravirt"
    with make(memory="256MiB") as machine:
        assert machine.vcpu.options["translation_buffer_bytes"] == 16 << 20


def test_a_plugin_that_cannot_be_set_up_is_named() -> None:
    class Broken(Family):
        def set_up(self, _machine: Machine) -> dict[str, int]:
            raise KeyError("depth")

    with pytest.raises(PluginError, match=r"plugin broken, given as hypercalls= cannot be set up: KeyError: 'depth'"):
        Machine(engine=script(), hypercalls=[Broken("broken")], plugins=False)


@pytest.mark.parametrize("bad", [0, -1, float("nan")])
def test_budgets_are_above_0(bad: float) -> None:
    with loaded(call(GREET, 1)) as machine, pytest.raises(ValueError, match=r"timeout=.* is not above 0"):
        machine.run(timeout=bad)


@pytest.mark.parametrize("technique", ["paravirt", "trap"])
@pytest.mark.parametrize("closes", [True, False])
def test_a_dropped_machine_is_freed_without_the_collector(technique: str, closes: bool) -> None:
    hypercalls = [Family()] if technique == "paravirt" else []
    gc.collect()
    gc.disable()
    try:
        machine = loaded(call(GREET, 1), Step(Exit(Reason.HLT)), technique=technique, hypercalls=hypercalls)
        machine.run()
        left = [weakref.ref(part) for part in (machine, machine.vcpu, machine.table, machine.clock, machine.memory)]
        if closes:
            machine.close()
        del machine
        assert [part() for part in left] == [None] * len(left)
    finally:
        gc.enable()
