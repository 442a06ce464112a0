"""The native lookup: the most exact row answers, counts are by key, and no guest can make it grow without end."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator

import pytest

from pv.dispatch import ANY_KEY, Row, Shape
from pv.engines.unicorn import EngineError, NativeHandlers
from pv.exits import NEXT, Exit, Reason, StopWhy, stop
from pv.machine import Machine
from tests.pv.engines.unicorn_memory.machines import machine

ENOSYS = -38
MANY = 6000  # more keys than the core keeps entries for


class Calls:
    """Hypercalls answered with what they are: a range, a single one, and an end."""

    name = "calls"

    def rows(self, machine: Machine) -> Iterator[Row]:
        def any_in_range(exit: Exit) -> object:
            machine.vcpu.rax = exit.key + 1
            return NEXT

        yield Row(Reason.VMCALL, 0x8001, 0xF000, any_in_range, self.name, "range")
        yield Row(Reason.VMCALL, 0xF001, 0xF001, lambda: 77, self.name, "late", Shape.CALL)
        yield Row(Reason.VMCALL, 0xF002, 0xF002, lambda: stop(3), self.name, "end", Shape.CALL)


def sweep(first: int) -> str:
    """A guest that asks for MANY numbers from `first` on, then for two that exist, and ends."""
    return f"""
        mov rbx, {first}
        xor ebp, ebp
    again:
        mov rax, rbx
        vmcall
        add rbp, rax
        inc rbx
        cmp rbx, {first + MANY}
        jne again
        mov eax, 0xf001
        vmcall
        mov r12, rax
        mov eax, 0x8abc
        vmcall
        mov r13, rax
        mov eax, 0xf002
        vmcall
    """


def test_ever_new_unknown_numbers_take_nothing_from_the_known() -> None:
    with machine(sweep(0x20000), "paravirt", hypercalls=[Calls()]) as made:
        outcome = made.run(timeout=30)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 3)
        assert made.vcpu.rbp == MANY * ENOSYS & (1 << 64) - 1
        assert made.vcpu.r12 == 77
        assert made.vcpu.r13 == 0x8ABD
        assert outcome.exits["VMCALL"] == MANY + 3
        assert sum(count for (reason, _), count in made.vcpu.counters().items() if reason == Reason.VMCALL) == MANY + 3
        assert len(made.vcpu.counters()) < 4096
        assert outcome.calls["late"] == 1


def test_a_row_of_many_keys_answers_each_with_its_own() -> None:
    with machine(sweep(0x8001), "paravirt", hypercalls=[Calls()]) as made:
        outcome = made.run(timeout=30)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 3)
        assert made.vcpu.rbp == sum(range(0x8002, 0x8002 + MANY))
        assert made.vcpu.r12 == 77
        assert made.vcpu.r13 == 0x8ABD
        assert outcome.exits["VMCALL"] == MANY + 3


@pytest.mark.parametrize("number", [0, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_8001, (1 << 64) - 1])
def test_numbers_nobody_has(number: int) -> None:
    text = f"mov rax, {number}; vmcall; mov rbx, rax; mov eax, 0xf002; vmcall"
    with machine(text, "paravirt", hypercalls=[Calls()]) as made:
        assert made.run(timeout=10).status == 3
        assert made.vcpu.rbx == ENOSYS & (1 << 64) - 1


def test_a_table_bound_anew_answers_at_once_and_counts_go_on() -> None:
    once = "mov eax, 0x8001; vmcall; mov rbx, rax; mov eax, 0xf002; vmcall"
    with machine(f"{once}; {once}", "paravirt", hypercalls=[Calls()]) as made:
        assert made.run(timeout=10).status == 3
        assert made.vcpu.rbx == 0x8002
        rows = [row for row in made.table if row.name != "range"]
        made.vcpu.bind([*rows, Row(Reason.VMCALL, ANY_KEY, ANY_KEY, lambda: 5, "test", "any", Shape.CALL)])
        why, status, _ = made.vcpu.run(0, 0)
        assert (why, status) == (StopWhy.EXITED, 3)
        assert made.vcpu.rbx == 5
        assert made.vcpu.counters()[Reason.VMCALL, 0x8001] == 2


def test_a_handler_may_bind_the_table_that_it_stands_in() -> None:
    """Nothing of the old table may be gone before the call has returned: argument count, handler, bound arguments."""
    gone: list[int] = []
    known: list[tuple[int, ...]] = []

    class Rebinding:
        def __init__(self, number: int) -> None:
            self.number = number

        def __call__(self, *arguments: int) -> int:
            bind(self.number + 1)
            gc.collect()
            assert self.number not in gone
            known.append(arguments)
            return self.number

        def __del__(self) -> None:
            gone.append(self.number)

    def bind(number: int) -> None:
        handler = functools.partial(Rebinding(number), number)
        row = Row(Reason.VMCALL, 7, 7, handler, "test", "rebinding", Shape.CALL, (64,) * 6)
        made.vcpu.bind([row, Row(Reason.VMCALL, 8, 8, lambda: stop(0), "test", "end", Shape.CALL)])

    with machine("mov eax, 7; vmcall; add rbx, rax; " * 5 + "mov eax, 8; vmcall", "paravirt") as made:
        bind(1)
        assert made.run(timeout=20).why is StopWhy.EXITED
        assert made.vcpu.rbx == 1 + 2 + 3 + 4 + 5
        assert [arguments[0] for arguments in known] == [1, 2, 3, 4, 5]
        assert sorted(gone) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (Row(Reason.VMCALL, 7, 7, print, "test", "seven", Shape.CALL, (64,) * 7), "7 arguments"),
        (Row(Reason.CPUID, ANY_KEY, ANY_KEY, NativeHandlers.reflect, "test", "", Shape.NATIVE), "no native handler"),
        (Row(Reason.VMCALL, 7, 7, print, "test", "", Shape.NATIVE), "no native handler"),
    ],
)
def test_a_row_that_the_core_cannot_run_is_refused(row: Row, why: str) -> None:
    with machine("mov eax, 7; vmcall; mov rbx, rax; mov eax, 0xf002; vmcall", "paravirt", hypercalls=[Calls()]) as made:
        with pytest.raises(ValueError, match=why):
            made.vcpu.bind([row])
        assert made.run(timeout=10).status == 3  # by the table that it had


def test_shadow_faults_need_shadow_tables() -> None:
    row = Row(Reason.EXCEPTION_NMI, 14, 14, NativeHandlers.shadow_fault, "test", "", Shape.NATIVE)
    with machine("nop", "paravirt") as made, pytest.raises(EngineError, match="page tables"):
        made.vcpu.bind([row])


def test_an_exits_handler_is_no_call_of_a_batch() -> None:
    with machine("nop", "paravirt", hypercalls=[Calls()]) as made:
        assert made.vcpu.call(0x8001, ()) == ENOSYS
        assert made.vcpu.call(0xF001, (1, 2)) == 77


def test_latencies_are_counted_in_buckets_that_hold_them() -> None:
    with machine(sweep(0x8001), "paravirt", hypercalls=[Calls()], time_exits=True) as made:
        made.run(timeout=30)
        latencies = made.vcpu.latencies()
    assert sum(one.count for one in latencies.values()) == MANY + 3
    for one in latencies.values():
        assert sum(one.buckets) == one.count
        filled = [index for index, count in enumerate(one.buckets) if count]
        assert int(2 ** (filled[0] / 4)) <= max(one.min_ns, 1) < 2 ** ((filled[0] + 1) / 4) + 1
        assert int(2 ** (filled[-1] / 4)) <= max(one.max_ns, 1) < 2 ** ((filled[-1] + 1) / 4) + 1
        assert one.min_ns * one.count <= one.total_ns <= one.max_ns * one.count
