"""Machines made, run and dropped by the thousand: nothing stays, whether they are closed or just forgotten."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guest_sdk.examples import hello
from pv.engines.unicorn import EngineError
from pv.exits import StopWhy
from pv.machine import Machine

WARM_UP, MACHINES = 50, 1000
NOISE_BYTES = 4 << 20  # of the allocator: 4 KiB a machine, of which each takes 1 MiB and more


class Held(NamedTuple):
    """What the process has: resident bytes, bytes of address space, file descriptors."""

    resident: int
    mapped: int
    files: int


def held() -> Held:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return Held(int(pages[1]) * 4096, int(pages[0]) * 4096, len(list(Path("/proc/self/fd").iterdir())))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


guest = functools.cache(hello.build)


def run_one(*, close: bool, technique: str = "paravirt") -> None:
    made = Machine(memory="4MiB", technique=technique)
    made.load(guest())
    outcome = made.run(timeout=30)
    assert technique != "paravirt" or (outcome.why, outcome.console) == (StopWhy.EXITED, "hello, world\n")
    if close:
        made.close()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("close", [True, False], ids=["closed", "dropped"])
@pytest.mark.parametrize("technique", ["paravirt", "trap"])
def test_a_thousand_machines_leave_nothing(close: bool, technique: str) -> None:
    for _ in range(WARM_UP):
        run_one(close=close, technique=technique)
    before = held()
    for _ in range(MACHINES):
        run_one(close=close, technique=technique)
    after = held()
    assert after.resident < before.resident + NOISE_BYTES
    assert after.mapped < before.mapped + NOISE_BYTES
    assert after.files == before.files


@pytest.mark.usefixtures("no_collector")
def test_a_dropped_machine_is_gone_at_once() -> None:
    made = Machine(memory="4MiB", technique="paravirt")
    made.load(guest())
    made.run(timeout=30)
    machine, vcpu, memory = weakref.ref(made), weakref.ref(made.vcpu), weakref.ref(made.memory)
    del made
    assert machine() is None
    assert vcpu() is None
    assert memory() is None


@pytest.mark.usefixtures("no_collector")
def test_a_machine_that_never_ran_leaves_nothing_either() -> None:
    for _ in range(WARM_UP):
        Machine(memory="4MiB")
    before = held()
    for _ in range(200):
        Machine(memory="4MiB")
    assert held().mapped < before.mapped + NOISE_BYTES


def test_many_machines_live_side_by_side() -> None:
    machines = [Machine(memory="2MiB", technique="trap", plugins=False) for _ in range(40)]
    for number, made in enumerate(machines):
        made.load(bytes.fromhex("b0") + bytes([number]) + bytes.fromhex("e6f4"))
    for number, made in enumerate(reversed(machines)):
        assert made.run(timeout=30).status == 39 - number
        made.close()


@pytest.mark.parametrize("technique", ["paravirt", "trap"])
def test_a_closed_machine_shows_its_registers_and_nothing_else(technique: str) -> None:
    machine = Machine(technique=technique)
    machine.load(b"\xb8\x07\x00\x00\x00\xf4")
    machine.run(timeout=5)
    vcpu, virtual = machine.vcpu, machine.vcpu.virtual
    machine.close()
    assert (vcpu.rax, vcpu.rip > 0, virtual.cr0) == (7, True, 0x80050033)
    assert vcpu.rflags & 2
    assert vcpu.code_at(vcpu.rip) == b""
    assert all(entry.code == b"" for entry in vcpu.flight_record())
    for verb in (lambda: vcpu.read_linear(0x100000, 8), lambda: vcpu.tables.create(), lambda: vcpu.shadow.load(0)):
        with pytest.raises(EngineError, match="closed"):
            verb()


CLOSED: dict[str, Callable[[Any], object]] = {
    "inject": lambda vcpu: vcpu.inject(13, 0),
    "start_guest_tables": lambda vcpu: vcpu.start_guest_tables(0x100000, 0x80000, 0x10000, 0x1000, 0x17),
    "start_monitor_tables": lambda vcpu: vcpu.start_monitor_tables(0x100000, 0x80000, []),
    "call": lambda vcpu: vcpu.call(0x1000, ()),
}


@pytest.mark.parametrize("technique", ["paravirt", "trap"])
@pytest.mark.parametrize("verb", CLOSED)
def test_a_closed_machine_refuses(technique: str, verb: str) -> None:
    machine = Machine(technique=technique)
    machine.load(b"\xf4")
    machine.close()
    with pytest.raises(EngineError, match="closed"):
        CLOSED[verb](machine.vcpu)


def test_the_instruction_of_an_exit_is_gone_with_its_machine() -> None:
    with Machine(technique="trap") as machine:
        machine.load(b"\x0f\x20\xc0\xf4")  # mov rax, cr0
        machine.run(max_exits=1)
        machine.run(timeout=5)
        view = machine.vcpu.exit
        assert view.insn is not None
    assert view.insn is None


OTHERS: list[tuple[str, Callable[[Any], object]]] = [
    ("trap", lambda vcpu: vcpu.tables.create()),
    ("trap", lambda vcpu: vcpu.tables.destroy(1)),
    ("trap", lambda vcpu: vcpu.tables.activate(0)),
    ("trap", lambda vcpu: vcpu.tables.map(0, 0, 0, 1, 7)),
    ("trap", lambda vcpu: vcpu.tables.unmap(0, 0, 1)),
    ("trap", lambda vcpu: vcpu.tables.lookup(0, 0)),
    ("trap", lambda vcpu: vcpu.start_monitor_tables(0x100000, 0x80000, [])),
    ("paravirt", lambda vcpu: vcpu.shadow.load(0)),
    ("paravirt", lambda vcpu: vcpu.shadow.invalidate(0)),
    ("paravirt", lambda vcpu: vcpu.shadow.flush()),
    ("paravirt", lambda vcpu: vcpu.start_guest_tables(0x100000, 0x80000, 0x10000, 0x1000, 0x17)),
]


@pytest.mark.parametrize(("technique", "verb"), OTHERS)
def test_page_tables_of_the_other_kind_are_refused(technique: str, verb: Callable[[Any], object]) -> None:
    with Machine(technique=technique) as machine:
        machine.load(b"\xf4")
        with pytest.raises(EngineError, match="page tables"):
            verb(machine.vcpu)
        assert machine.run(timeout=5).why.name in ("HALTED", "SHUTDOWN")


@pytest.mark.parametrize("segment", [1, 6, 1 << 31])
def test_a_segment_that_cannot_be_loaded(segment: int) -> None:
    with Machine(technique="trap") as machine, pytest.raises(IndexError, match="ES SS DS FS GS"):
        machine.vcpu.load_segment(segment, 0x10)


def test_a_view_outlives_its_machine() -> None:
    machine = Machine()
    virtual = machine.vcpu.virtual
    machine.close()
    del machine
    gc.collect()
    assert virtual.cr0 == 0x80050033
