"""A run that is snapshotted, restored or forked is the run that was not: exits, console, time, memory, result."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compare import PACKAGES, WORKLOADS
from guest_sdk import Guest
from hypercalls import MachineView, Plugin, hypercall
from pv.disk import Disk, DiskError
from pv.exits import StopWhy
from pv.machine import Machine
from pv.snapshot import Snapshot, SnapshotError
from tests.pv.snapshots import finish, seen, workload

PAIRS = [(name, technique) for name in WORKLOADS for technique in PACKAGES]
POINTS = 4  # snapshot points tried of each workload


@cache
def uninterrupted(name: str, technique: str) -> tuple[int, dict[str, Any]]:
    with workload(name, technique) as machine:
        end = finish(machine)
        return machine.vcpu.exits, end


@pytest.mark.parametrize(("name", "technique"), PAIRS)
def test_every_way_on_from_a_snapshot_is_the_uninterrupted_run(name: str, technique: str) -> None:
    exits, end = uninterrupted(name, technique)

    @settings(max_examples=POINTS, deadline=None)
    @given(st.integers(1, exits - 1), st.integers(1, exits))
    def compare(point: int, further: int) -> None:
        with workload(name, technique) as machine:
            machine.run(max_exits=point, timeout=60)
            here = seen(machine, machine.run(max_exits=1, timeout=60)) if point + 1 < exits else None
            snapshot = machine.snapshot()
            assert finish(machine) == end, "after the snapshot"
            machine.restore(snapshot)
            assert here is None or (machine.outcome is not None and seen(machine, machine.outcome) == here)
            machine.run(max_exits=further, timeout=60)
            machine.restore(snapshot)
            assert finish(machine) == end, "after two restores"
            with machine.fork(snapshot) as child, child.fork() as grandchild:
                assert finish(child) == end, "in a fork"
                assert finish(grandchild) == end, "in a fork of a fork"
            with Machine.from_snapshot(snapshot) as other:
                assert finish(other) == end, "in a machine made of it"

    compare()


@pytest.mark.parametrize("technique", PACKAGES)
def test_a_fork_and_its_parent_do_not_meet(technique: str) -> None:
    _, end = uninterrupted("console", technique)
    with workload("console", technique) as machine:
        machine.run(max_exits=5)
        with machine.fork() as child:
            child.memory.write(0x9000, b"the child's")
            assert machine.memory.read(0x9000, 11) == bytes(11)
            assert finish(machine) == end
            assert child.console.text != machine.console.text
        assert machine.memory.read(0x9000, 11) == bytes(11)


SELF_MODIFYING = """
main:
    lea rbx, [patch + 1]
again:
    mov eax, 0x1000
    vmcall
    call patch
    add r12, rax
    inc byte ptr [rbx]
    cmp byte ptr [rbx], 9
    jne again
    mov rax, r12
    ret
patch:
    mov eax, 1
    ret
"""


def test_code_that_the_guest_has_rewritten_is_forgotten() -> None:
    """The engine has translated what stood there after the snapshot, and the host puts other bytes in its place."""
    guest = Guest("rewriter", paravirt=True)
    guest.asm(SELF_MODIFYING)
    with Machine() as machine:
        machine.load(writable(guest.build()))
        machine.run(max_exits=4)
        snapshot = machine.snapshot()
        first = machine.run(timeout=20)
        assert (first.why, first.status) == (StopWhy.EXITED, sum(range(1, 9)))
        for _ in range(3):
            machine.restore(snapshot)
            again = machine.run(timeout=20)
            assert (again.status, again.exits) == (first.status, first.exits)


def writable(image: bytes) -> bytes:
    """The ELF with every segment writable as well."""
    data = bytearray(image)
    table, size, count = (int.from_bytes(data[at : at + n], "little") for at, n in ((32, 8), (54, 2), (56, 2)))
    for entry in range(table, table + size * count, size):
        data[entry + 4] |= 2
    return bytes(data)


@hypercall(0x8F10, "keep")
def keep(machine: MachineView, value: int) -> int:
    kept: list[int] = machine.state["keeper"]
    kept.append(value)
    return sum(kept)


KEEPING = "main:\nmov r12d, 5\nagain:\nmov rdi, r12\nmov eax, 0x8f10\nvmcall\ndec r12d\njnz again\nret"


def keeper(**hooks: Any) -> Plugin:
    return Plugin("keeper", "1", (keep,), on_set_up=lambda _machine: [], **hooks)


def put_kept(machine: MachineView, saved: list[int]) -> None:
    machine.state["keeper"][:] = saved


def keeping(plugin: Plugin) -> Machine:
    guest = Guest("keeping", paravirt=True)
    guest.asm(KEEPING)
    machine = Machine(hypercalls=[plugin])
    machine.load(guest.build())
    return machine


def test_a_plugin_saves_and_restores_its_state() -> None:
    with keeping(keeper(on_save=list, on_restore=put_kept)) as machine:
        machine.run(max_exits=3)
        before = list(machine.state["keeper"])
        snapshot = machine.snapshot()
        with machine.fork() as child:
            assert child.run(timeout=20).status == 15
            assert (machine.state["keeper"], child.state["keeper"]) == (before, [5, 4, 3, 2, 1])
        assert machine.run(timeout=20).status == 15
        machine.restore(snapshot)
        assert machine.state["keeper"] == before
        assert machine.run(timeout=20).status == 15


def test_a_plugin_that_keeps_state_and_cannot_save_it_is_named() -> None:
    with keeping(keeper()) as machine, pytest.raises(SnapshotError, match=r"keeper.* keeps state .* give it on_save"):
        machine.snapshot()


def test_what_a_plugin_saves_must_be_plain() -> None:
    with (
        keeping(keeper(on_save=lambda _kept: object(), on_restore=put_kept)) as machine,
        pytest.raises(SnapshotError, match=r"keeper.* saves what msgpack cannot hold"),
    ):
        machine.snapshot()


def test_a_handler_cannot_snapshot_its_machine() -> None:
    errors: list[str] = []

    @hypercall(0x8F10, "keep")
    def meddle(machine: Any) -> int:
        for verb in (machine.snapshot, machine.fork, lambda: machine.restore(taken[0])):
            with pytest.raises(RuntimeError) as refused:
                verb()
            errors.append(str(refused.value))
        return 0

    taken: list[Snapshot] = []
    guest = Guest("keeping", paravirt=True)
    guest.asm("main:\nmov eax, 0x8f10\nvmcall\nret")
    with Machine(hypercalls=[meddle]) as machine:
        machine.load(guest.build())
        taken.append(machine.snapshot())
        assert machine.run(timeout=20).status == 0
    assert errors == [
        f"{verb}(): the machine is running; call it once run() has returned" for verb in ("snapshot", "fork", "restore")
    ]


def with_memory() -> Machine:
    return Machine(memory="2MiB")


def with_trap() -> Machine:
    return Machine(technique="trap")


def with_pages() -> Machine:
    return Machine(options={"monitor_pages": 4096})


def with_a_call() -> Machine:
    return Machine(hypercalls=[keeper(on_save=list, on_restore=put_kept)])


def without_a_plugin() -> Machine:
    return Machine(disabled_plugins=["clock"])


def with_grants() -> Machine:
    return Machine(grants=["exit"])


def with_quotas() -> Machine:
    return Machine(quotas={"console_write": 3})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (with_memory, "bytes of memory 16777216; this one has 2097152"),
        (with_trap, "technique paravirt; this one has trap"),
        (with_pages, "option 'monitor_pages' 1040; this one has 4096"),
        (with_a_call, "plugin version 'keeper' none; this one has 1"),
        (without_a_plugin, "plugin version 'clock' 1; this one has none"),
        (with_grants, "grants None; this one has"),
        (with_quotas, "quota 'console_write' none; this one has 3"),
    ],
)
def test_a_machine_of_another_shape_is_refused(make: Callable[[], Machine], words: str) -> None:
    with workload("console", "paravirt") as machine, make() as other:
        snapshot = machine.snapshot()
        with pytest.raises(SnapshotError, match="the snapshot is of a machine with " + words):
            other.restore(snapshot)


def test_a_closed_machine_has_no_snapshot_and_its_snapshot_lives_on() -> None:
    _, end = uninterrupted("console", "paravirt")
    with workload("console", "paravirt") as machine:
        machine.run(max_exits=3)
        snapshot = machine.snapshot()
    with pytest.raises(RuntimeError, match=r"snapshot\(\): the machine is closed"):
        machine.snapshot()
    with Machine.from_snapshot(snapshot) as again:
        assert finish(again) == end


def test_a_snapshot_of_a_guest_that_has_ended() -> None:
    with workload("console", "paravirt") as machine:
        machine.run(timeout=20)
        with machine.fork() as child:
            assert child.outcome is not None
            assert machine.outcome is not None
            assert child.outcome.summary == machine.outcome.summary
            with pytest.raises(RuntimeError, match="the guest has ended"):
                child.run()


def test_a_snapshot_before_there_is_a_guest() -> None:
    with Machine() as machine, machine.fork() as child:
        with pytest.raises(RuntimeError, match=r"call load\(\) first"):
            child.run()
        guest = Guest("late", paravirt=True)
        guest.asm("main:\nmov eax, 7\nret")
        child.load(guest.build())
        assert child.run(timeout=20).status == 7


def test_quotas_are_state() -> None:
    guest = Guest("flood", paravirt=True)
    guest.string("text", "x")
    guest.asm("main: mov ebx, 6\nagain:")
    guest.call.console_write("text", "text_bytes")
    guest.asm("dec ebx\njnz again\nret")
    with Machine(quotas={"console_write": 3}) as machine:
        machine.load(guest.build())
        machine.run(max_exits=4)
        snapshot = machine.snapshot()
        assert machine.run(timeout=20).console == "xxx"
        with machine.fork(snapshot) as child:
            assert child.run(timeout=20).console == "xxx"
        machine.restore(snapshot)
        assert machine.run(timeout=20).console == "xxx"


def disk_file(folder: Path) -> Path:
    path = folder / "disk.img"
    path.write_bytes(bytes(range(256)) * 2048)
    return path


def test_what_a_cow_disk_was_written_is_state(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    with Machine(disks=[f"{path}:cow", path]) as machine:
        disk = machine.disks[0]
        disk.write_from(memoryview(b"before"), 512)
        snapshot = machine.snapshot()
        disk.write_from(memoryview(b"after!"), 512)
        with machine.fork(snapshot) as child:
            assert read(child.disks[0]) == b"before"
            child.disks[0].write_from(memoryview(b"child!"), 512)
        assert read(disk) == b"after!"
        machine.restore(snapshot)
        assert read(disk) == b"before"
    assert path.read_bytes()[512:518] == bytes(range(6))


def read(disk: Disk) -> bytes:
    view = bytearray(6)
    disk.read_into(memoryview(view), 512)
    return bytes(view)


def test_a_disk_that_is_written_in_place_has_no_snapshot(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    with (
        Machine(disks=[f"{path}:rw"]) as machine,
        pytest.raises(SnapshotError, match=r"disk\.img is written in place.*cow"),
    ):
        machine.snapshot()


def test_a_disk_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = disk_file(tmp_path)
    with Machine(disks=[path]) as machine:
        snapshot = machine.snapshot()
        path.write_bytes(bytes(1 << 20))
        with pytest.raises(DiskError, match="modified_ns is"):
            machine.restore(snapshot)


def test_the_scripted_engine_has_no_snapshots() -> None:
    from pv.engines.scripted import ScriptedVcpu

    with (
        Machine(engine=lambda memory, **_sizes: ScriptedVcpu(memory, [])) as machine,
        pytest.raises(SnapshotError, match="has no state that could be kept"),
    ):
        machine.snapshot()


def test_unmoved_forks_share_one_file() -> None:
    with workload("console", "paravirt") as machine:
        machine.run(max_exits=3)
        first, second = machine.snapshot(), machine.snapshot()
        if machine.memory.pages.written() is None:
            pytest.skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
        assert first.memory is second.memory
        assert first.tables is second.tables


def test_a_machine_whose_engine_has_ended_has_no_snapshot_and_takes_none() -> None:
    with Machine(memory="2MiB") as machine:
        machine.load(b"\xf0\x0f\xba\xe0\x01")  # LOCK BT of a register aborts the translator
        before = machine.snapshot()
        assert machine.run(timeout=60).why is StopWhy.ENGINE_ABORT
        with pytest.raises(SnapshotError, match="no snapshot to take: the engine of this machine has ended"):
            machine.snapshot()
        with pytest.raises(SnapshotError, match=r"from_snapshot.* makes a new one"):
            machine.restore(before)
