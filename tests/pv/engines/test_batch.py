"""Batches and rings in Python and the native ones give the same results for the same entries."""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from errno import EAGAIN, EFAULT, EINVAL, EIO, ENOSYS
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import Guest, abi
from hypercalls import hypercall
from pv import Machine
from pv.engines.base import GuestFault
from pv.engines.batch import ENTRY, call_batch, call_ring
from pv.exits import GuestError, StopWhy

GPA = 0x4003  # entries need no alignment
HARMLESS = [abi.BY_NAME[name].number for name in ("abi_version", "abi_features", "memory_size", "set_kernel_stack")]
NUMBER = st.sampled_from([*HARMLESS, 0x9999, abi.BY_NAME["exit"].number, 1 << 31, (1 << 64) - 1])
WORD = st.sampled_from([0, 1, 1 << 32, 1 << 47, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1)


def results(memory: bytes) -> list[int]:
    return [struct.unpack_from("<q", memory, at)[0] for at in range(56, len(memory), 64)]


@given(st.lists(st.tuples(NUMBER, *[WORD] * 7), max_size=20))
@settings(max_examples=60, deadline=None)
def test_both_give_the_same(entries: list[tuple[int, ...]]) -> None:
    image = b"".join(ENTRY.pack(*entry) for entry in entries)
    seen = []
    for native in (True, False):
        with Machine() as machine:
            machine.memory.write(GPA, image)
            vcpu = machine.vcpu
            if native:
                assert vcpu.call_batch(GPA, len(entries)) == len(entries)
            else:
                assert call_batch(machine.memory, vcpu.call, GPA, len(entries)) == len(entries)
            seen.append((machine.memory.read(GPA, len(image)), vcpu.calls()))
    assert seen[0] == seen[1]


def test_results_are_those_of_the_calls() -> None:
    with Machine() as machine:
        entries = [(HARMLESS[0], 0), (0x9999, 0), (abi.BY_NAME["exit"].number, 0)]
        machine.memory.write(GPA, b"".join(ENTRY.pack(number, *[0] * 7) for number, _ in entries))
        machine.vcpu.call_batch(GPA, 3)
        assert results(machine.memory.read(GPA, 3 * 64)) == [abi.VERSION, -ENOSYS, -EINVAL]


@pytest.mark.parametrize(("gpa", "count"), [(0, 1 << 40), ((1 << 64) - 64, 2), ((16 << 20) - 64, 2), (16 << 20, 1)])
def test_entries_outside_memory_are_refused(gpa: int, count: int) -> None:
    with Machine() as machine, pytest.raises(GuestError):
        machine.vcpu.call_batch(gpa, count)


@dataclass
class State:
    """Where a monitor stands in a ring (pv.engines.base.RingState)."""

    gpa: int = 0x8000
    entries: int = 4
    submit_head: int = 0
    complete_tail: int = 0
    left: int = 0


def take(machine: Machine, state: State, native: bool) -> int:
    """A pass over the ring by the engine, or by the Python that stands for it; exit is refused."""
    taken: int = machine.vcpu.call_ring(state) if native else call_ring(machine.memory, machine.vcpu.call, state)
    return taken


INDEX = st.integers(0, 5) | st.sampled_from([(1 << 32) - 1, (1 << 32) - 3, 1 << 31])


@given(
    st.lists(st.tuples(NUMBER, *[WORD] * 7), min_size=4, max_size=4),
    INDEX,
    INDEX,
    INDEX,
    INDEX,
    st.sampled_from([1, 2, 4]),
)
@settings(max_examples=80, deadline=None)
def test_both_take_the_same_of_a_ring(
    calls: list[tuple[int, ...]], submit_tail: int, complete_head: int, head: int, tail: int, entries: int
) -> None:
    seen: list[Any] = []
    image = struct.pack("<II120x", submit_tail, complete_head) + b"".join(ENTRY.pack(*call) for call in calls)
    for native in (True, False):
        with Machine() as machine:
            machine.memory.write(0x8000, image)
            state = State(0x8000, entries, head, tail, 9)
            try:
                answer = take(machine, state, native)
            except GuestError as error:
                answer = -error.errno
            seen.append((answer, asdict(state), machine.memory.read(0x8000, 4096), machine.vcpu.calls()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "state", [State(gpa=(16 << 20) - 128), State(gpa=16 << 20), State(gpa=0x8004), State(entries=0), State(entries=3)]
)
@pytest.mark.parametrize("native", [True, False])
def test_rings_that_are_none_are_refused(state: State, native: bool) -> None:
    with Machine() as machine:
        with pytest.raises(GuestError) as caught:
            take(machine, state, native)
        assert caught.value.errno == EFAULT


@hypercall(0x8001, "stop_machine")
def stop_machine(machine: Any) -> int:
    machine.stop(5)
    return 0


@hypercall(0x8002, "guest_fault")
def guest_fault(machine: Any) -> int:  # noqa: ARG001 (a handler's signature)
    raise GuestFault(14, 2)


@hypercall(0x8003, "break_down")
def break_down(machine: Any) -> int:  # noqa: ARG001
    raise ZeroDivisionError


GO = 0x9000
MADE = [stop_machine, guest_fault, break_down]


def ring_of(*numbers: int) -> bytes:
    return struct.pack("<I124x", len(numbers)) + b"".join(ENTRY.pack(number, *[0] * 7) for number in numbers)


@pytest.mark.parametrize("native", [True, False])
def test_a_handler_that_raises_leaves_the_ring_s_state_right(native: bool) -> None:
    with Machine(hypercalls=MADE) as machine:
        machine.memory.write(0x8000, ring_of(0x8002, 0x8003, 0x1000))
        state = State()
        with pytest.raises(ZeroDivisionError):
            take(machine, state, native)
        assert (state.submit_head, state.complete_tail) == (2, 2)
        assert machine.memory.read(0x8040, 8) == struct.pack("<II", 2, 2)
        completions = [machine.memory.read(0x8000 + 128 + 4 * 64 + 16 * index, 16) for index in range(3)]
        assert [struct.unpack("<Qq", done) for done in completions] == [(0, -EFAULT), (0, -EIO), (0, 0)]


def batch_guest(kind: str) -> bytes:
    """A guest that makes three calls, the second of which stops the machine, in a batch of `kind`.

    It goes on where the host writes to GO. Its status: of a multicall the third's errno, of a ring how many were taken.
    """
    guest = Guest(kind, paravirt=True).bss("space", 4096, align=4096)
    wait = f"wait: cmp byte ptr [{GO}], 0\nje wait\n"
    guest.asm("main:\nmov rbx, space" + ("\nmov dword ptr [rbx], 3\nadd rbx, RING_SIZE" if kind == "ring" else ""))
    for index, number in enumerate((0x1000, 0x8001, 0x1000)):
        guest.asm(f"mov qword ptr [rbx + {64 * index}], {number}")
    if kind == "ring":
        guest.call.ring_open("space", 4, "NO_PORT")
        guest.call.ring_kick(0)
        guest.asm(wait + "late: cmp dword ptr [space + RING_COMPLETE_TAIL], 3\njne late\nret")
    else:
        guest.call.multicall("space", 3)
        guest.asm(wait + "mov rax, [space + 128 + MULTICALL_ENTRY_RESULT]\nneg rax\nret")
    return guest.build()


@pytest.mark.parametrize(("kind", "status", "calls"), [("multicall", EAGAIN, 1), ("ring", 2, 2)])
def test_a_stop_takes_effect_between_entries(kind: str, status: int, calls: int) -> None:
    """Of a multicall, what is left gets -EAGAIN; of a ring, it stays queued, and is made once the run goes on."""
    with Machine(hypercalls=MADE) as machine:
        machine.load(batch_guest(kind))
        outcome = machine.run(timeout=10)
        assert (outcome.why, outcome.status) == (StopWhy.STOPPED, 5)
        assert machine.vcpu.calls()[0x1000] == 1
        machine.memory.write(GO, b"\1")
        assert machine.run(timeout=10).status == status
        assert machine.vcpu.calls()[0x1000] == calls
