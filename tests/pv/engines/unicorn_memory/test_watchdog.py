"""Stops: exact to the instruction, and often enough for other threads, for signals and for a forked child."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pv.exits import StopWhy, stop
from pv.machine import Machine
from tests.pv.engines.unicorn_memory.machines import HostCalls, call, exit_with, machine

COUNTER = 0x200000
SPIN = "jmp ."
CALL_FOR_EVER = f"again: {call(0)}; jmp again"
FAULT_FOR_EVER = "again: mov rax, [0x40000000]; jmp again"
PATIENCE_S = 60.0


def incrementing(times: int) -> str:
    """A guest that adds 1 to COUNTER `times` times, without LOCK."""
    return f"mov rcx, {times}; mov rbx, {COUNTER}; again: add qword ptr [rbx], 1; dec rcx; jnz again; {exit_with(3)}"


def spinning() -> Machine:
    return machine(SPIN)


def calling() -> Machine:
    return machine(CALL_FOR_EVER, "paravirt", hypercalls=[HostCalls(lambda: 0)])


@contextmanager
def busy_thread() -> Iterator[list[int]]:
    """Python code that runs beside the guest; the list's one number says how far it has come."""
    progress, end = [0], threading.Event()

    def work() -> None:
        while not end.is_set():
            for _ in range(1000):
                progress[0] += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield progress
    finally:
        end.set()
        worker.join()


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """SIGINT to this process, as Ctrl-C sends it."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_hundred_million_increments_under_ten_thousand_stops() -> None:
    """More rounds of them where a loaded host stops the guest less often."""
    times, stops = 10**8, 0
    while stops < 10_000:
        with machine(incrementing(times)) as made:
            made.vcpu.set_slice(1000)
            outcome = made.run(timeout=100)
            assert (outcome.why, outcome.status) == (StopWhy.EXITED, 3)
            assert made.memory.read_uint(COUNTER, 8) == times
            assert made.vcpu.slices > 100
            stops += made.vcpu.slices


def test_stops_within_string_instructions_and_over_pages_are_exact() -> None:
    text = f"""
        mov rdx, 2000
        mov rbx, {COUNTER + 0x1FFC}
    again:
        mov rdi, {COUNTER + 0x3000}
        mov ecx, 700
        rep stosb
        add r8, rcx
        add qword ptr [rbx], 1
        xadd [rbx], r9
        sub rdi, {COUNTER + 0x3000}
        add r10, rdi
        xor r9d, r9d
        dec rdx
        jnz again
        {exit_with(3)}
    """
    with machine(text) as made:
        made.vcpu.set_slice(1000)
        assert made.run(timeout=100).status == 3
        assert made.memory.read_uint(COUNTER + 0x1FFC, 8) == 2000
        assert made.vcpu.r10 == 2000 * 700
        assert made.vcpu.r8 == 0


def test_counts_do_not_depend_on_how_often_the_guest_is_stopped() -> None:
    text = f"mov ebp, 3000; again: {call(0)}; mov rax, [rbp * 8 + {COUNTER}]; dec ebp; jnz again; {call(1)}"

    def counted(slice_ns: int) -> tuple[object, ...]:
        with machine(text, "paravirt", hypercalls=[HostCalls(lambda: 0, lambda: stop(2))]) as made:
            made.vcpu.set_slice(slice_ns)
            outcome = made.run(timeout=100)
            return outcome.status, outcome.exits, outcome.by_key, outcome.events

    assert counted(1000) == counted(10**9)


@pytest.mark.parametrize("make", [spinning, calling, lambda: machine(FAULT_FOR_EVER)])
def test_a_time_budget_ends_every_guest(make: Callable[[], Machine]) -> None:
    with make() as made:
        assert made.run(timeout=0.02).why in (StopWhy.TIMEOUT, StopWhy.SHUTDOWN)


@pytest.mark.parametrize("make", [spinning, calling])
def test_another_thread_gets_on_while_a_guest_runs(make: Callable[[], Machine]) -> None:
    with make() as made, busy_thread() as progress:
        time.sleep(0.01)
        before, exits = progress[0], made.vcpu.exits
        outcome = made.run(timeout=0.5)
        assert outcome.why is StopWhy.TIMEOUT
        assert progress[0] > before + 20_000
        assert make is spinning or made.vcpu.exits > exits + 5_000


@pytest.mark.parametrize("make", [spinning, calling])
def test_ctrl_c_ends_a_run_and_the_machine_goes_on(make: Callable[[], Machine]) -> None:
    with make() as made:
        for _ in range(3):
            with interrupted_after(0.05), pytest.raises(KeyboardInterrupt):
                made.run(timeout=PATIENCE_S)
        assert made.run(timeout=0.02).why is StopWhy.TIMEOUT


def test_a_signal_raised_by_a_thread_interrupts_too() -> None:
    timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
    with spinning() as made:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            made.run(timeout=PATIENCE_S)
        timer.join()


@pytest.mark.parametrize("make", [spinning, calling])
def test_any_thread_may_stop_a_guest(make: Callable[[], Machine]) -> None:
    with make() as made:
        for status in (1, 2, 3):
            timer = threading.Timer(0.03, made.stop, (status,))
            timer.start()
            outcome = made.run(timeout=PATIENCE_S)
            timer.join()
            assert (outcome.why, outcome.status) == (StopWhy.STOPPED, status)
        assert made.run(timeout=0.02).why is StopWhy.TIMEOUT


def test_machines_in_several_threads_do_not_disturb_each_other() -> None:
    results: dict[int, tuple[int | None, int]] = {}

    def work(number: int) -> None:
        times = 100_000 * (number + 1)
        with machine(incrementing(times)) as made:
            made.vcpu.set_slice(20_000)
            outcome = made.run(timeout=PATIENCE_S)
            results[number] = outcome.status, made.memory.read_uint(COUNTER, 8)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: (3, 100_000 * (number + 1)) for number in range(6)}


def in_child(work: Callable[[], bool]) -> int:
    """Fork; the exit status of a child that does `work`: 0 where it says true."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_parent_and_child_run_after_a_fork() -> None:
    with spinning() as before:
        assert before.run(timeout=0.02).why is StopWhy.TIMEOUT  # the slicer thread is there, and not in the child

        def work() -> bool:
            with spinning() as own:
                ran = own.run(timeout=0.02).why is StopWhy.TIMEOUT
            return ran and before.run(timeout=0.02).why is StopWhy.TIMEOUT

        for _ in range(5):
            assert in_child(work) == 0
        assert before.run(timeout=0.02).why is StopWhy.TIMEOUT


def test_a_fork_while_another_thread_runs_a_guest() -> None:
    with spinning() as other:
        runner = threading.Thread(target=other.run, args=(PATIENCE_S,))
        runner.start()

        def work() -> bool:
            with machine(incrementing(100_000)) as own:
                own.vcpu.set_slice(10_000)
                return own.run(timeout=20).status == 3 and own.memory.read_uint(COUNTER, 8) == 100_000

        for _ in range(5):
            time.sleep(0.005)
            assert in_child(work) == 0
        other.stop()
        runner.join()
        assert other.outcome is not None
        assert other.outcome.why is StopWhy.STOPPED


def test_the_child_of_a_handler_that_forks_keeps_its_time_budget() -> None:
    children: list[int] = []

    def fork() -> int:
        children.append(os.fork())
        return 0

    text = f"{call(0)}; again: jmp again"
    with machine(text, "paravirt", hypercalls=[HostCalls(fork)]) as made:
        why = made.run(timeout=0.3).why
        if children == [0]:
            os._exit(0 if why is StopWhy.TIMEOUT else 1)
        assert why is StopWhy.TIMEOUT
    for _ in range(400):
        ended, status = os.waitpid(children[0], os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
        pytest.fail("the child runs for ever")
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_slice_has_a_least_length() -> None:
    with spinning() as made, pytest.raises(ValueError, match="at least"):
        made.vcpu.set_slice(999)
