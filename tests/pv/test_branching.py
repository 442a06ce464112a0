"""The verbs of a machine for snapshots: who may call them, what a fork shares, and what it makes for itself."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from bench.compare import PACKAGES, workload_disks
from guest_sdk import Guest, abi
from pv.exits import Reason
from pv.machine import Machine
from pv.plugin import foreign_plugins
from pv.snapshot import Snapshot, SnapshotError
from tests.pv.snapshots import finish, workload

ENTRY = abi.STRUCT_BY_NAME["multicall_entry"]


@pytest.mark.parametrize("technique", sorted(PACKAGES))
def test_a_fork_has_its_parents_table(technique: str) -> None:
    with workload("console", technique) as machine, machine.fork() as child, child.fork() as grandchild:
        for one in (child, grandchild):
            assert [(row.reason, row.first, row.last, row.name) for row in one.table] == [
                (row.reason, row.first, row.last, row.name) for row in machine.table
            ]
            assert one.call_numbers == machine.call_numbers


def test_a_fork_whose_first_python_exit_is_a_multicall() -> None:
    """Its entries have handlers that no exit has asked for, and those that a batch refuses are known without them."""
    guest = Guest("batch", paravirt=True)
    guest.bss("entries", 2 * ENTRY.size_bytes)
    size, result = ENTRY.size_bytes, ENTRY.offset("result")
    numbers = [abi.BY_NAME[name].number for name in ("abi_version", "exit", "multicall")]
    guest.asm(f"""
main:
    mov rbx, entries
    mov qword ptr [rbx], {numbers[0]:#x}
    mov qword ptr [rbx + {size}], {numbers[1]:#x}
    mov eax, {numbers[0]:#x}
    vmcall
    mov rdi, rbx
    mov esi, 2
    mov eax, {numbers[2]:#x}
    vmcall
    mov rax, [rbx + {result}]
    shl rax, 4
    sub rax, [rbx + {size + result}]
    ret
""")
    with Machine() as machine:
        machine.load(guest.build())
        while not machine.run(max_exits=1, timeout=20).calls.get("abi_version"):
            pass
        with machine.fork() as child, child.fork() as grandchild:
            for one in (machine, child, grandchild):
                assert one.run(timeout=20).status == abi.VERSION * 16 + abi.ERRNO["EINVAL"]


def test_cpuid_by_call_in_a_fork() -> None:
    with workload("cpuid-msr", "paravirt") as machine:
        machine.run(max_exits=2, timeout=20)
        with machine.fork() as child:
            row = child.table.find(Reason.CPUID, abi.CPUID_FEATURES_LEAF)
            assert row is not None
            assert finish(child) == finish(machine)


def test_a_traced_or_confined_fork_makes_its_own_table() -> None:
    lines: list[str] = []
    with workload("console", "paravirt") as machine:
        machine.run(max_exits=3, timeout=20)
        with machine.fork(trace=lines.append) as child:
            assert child.run(timeout=20).exits.total - 3 == len(lines)
    arguments: dict[str, Any] = {"disks": workload_disks(), "disabled_plugins": foreign_plugins()}
    with Machine(grants=["exit"], **arguments) as confined, confined.fork() as child:
        assert child.grants == {"exit"}
        assert len(list(child.table)) == len(list(confined.table))


def test_a_forks_console_is_its_own() -> None:
    heard: list[bytes] = []
    echoed: list[bytes] = []
    guest = Guest("talker", paravirt=True)
    guest.string("text", "x")
    guest.asm("main: mov ebx, 4\nagain:")
    guest.call.console_write("text", "text_bytes")
    guest.asm("dec ebx\njnz again\nret")
    with Machine(console=heard.append) as machine:
        machine.load(guest.build())
        while machine.console.text != "xx":
            machine.run(max_exits=1, timeout=20)
        with machine.fork() as silent, machine.fork(console=echoed.append) as loud:
            assert silent.run(timeout=20).console == loud.run(timeout=20).console == "xxxx"
    assert (heard, echoed) == ([b"x", b"x"], [b"x", b"x"])


def test_a_dropped_fork_is_freed_at_once() -> None:
    with workload("console", "trap") as machine:
        machine.run(max_exits=5, timeout=20)
        child = machine.fork()
        child.run(timeout=20)
        gone, memory = weakref.ref(child), weakref.ref(child.memory)
        gc.disable()
        try:
            del child
            assert gone() is None
            assert memory() is None
        finally:
            gc.enable()


def test_a_fork_of_a_guest_calls_its_functions() -> None:
    guest = Guest("callee", paravirt=True)
    guest.asm("main:\nmov eax, 0x1000\nvmcall\nmov eax, 3\nret\ntwice:\nlea rax, [rdi + rdi]\nret")
    with Machine() as machine:
        machine.load(guest.build())
        machine.run(max_exits=2, timeout=20)
        with machine.fork() as child:
            assert child.call("twice", 21) == machine.call("twice", 21) == 42
            assert child.run(timeout=20).status == 3


def test_a_machine_in_another_process_says_that_it_has_none() -> None:
    """The verbs ask first whether the guest is here."""
    with workload("console", "paravirt") as machine:
        snapshot = machine.snapshot()
        machine.isolation = "process"
        for verb in (machine.snapshot, machine.fork, lambda: machine.restore(snapshot)):
            with pytest.raises(SnapshotError, match=r"isolation='process'.*no snapshots.*isolation='none'"):
                verb()
        machine.isolation = "none"


@pytest.mark.parametrize("disks", [[7], [{"path": 3, "mode": "ro"}], [{"path": "x", "mode": "rw"}]])
def test_disks_that_were_made_up(disks: list[Any]) -> None:
    with Machine() as machine:
        taken = machine.snapshot()
    made_up = Snapshot(taken.shape, {**taken.state, "disks": disks}, taken.memory, taken.tables, None, trusted=False)
    with pytest.raises(SnapshotError, match="has a disk that is none"):
        Machine.from_snapshot(made_up)
