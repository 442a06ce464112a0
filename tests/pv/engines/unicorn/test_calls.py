"""The host calls into a guest, in the middle of its hypercalls and between runs: state, counts, depth, budgets."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from errno import EAGAIN, EPERM
from typing import Any

import pytest

from guest_sdk import Guest, abi
from hypercalls import hypercall
from pv import GuestCallError, Machine, StopWhy
from pv.engines.calling import CALL_DEPTH_MOST

ASK = 0x8001
Make = Callable[..., Machine]
Handler = Callable[..., int]


def build(text: str, **pieces: int) -> bytes:
    guest = Guest("called", paravirt=True)
    guest.constant("ASK", ASK)
    guest.asm(text)
    for label, size_bytes in pieces.items():
        guest.bss(label, size_bytes)
    return guest.build()


@pytest.fixture
def make() -> Iterator[Make]:
    """make(text, handler) -> a machine with that guest; handler(machine, n) answers its hypercall `ask` (RDI)."""
    with ExitStack() as stack:

        def machine(text: str, handler: Handler = lambda _machine, _n: 0, pieces: Any = (), **options: Any) -> Machine:
            @hypercall(ASK, "ask")
            def ask(machine, n: int) -> int:  # type: ignore[no-untyped-def]  # annotated Any elsewhere
                return handler(machine, n)

            made = stack.enter_context(Machine(memory="4MiB", hypercalls=[ask], **options))
            made.load(build(text, **dict(pieces)))
            return made

        yield machine


MAIN = """
main:
    mov eax, ASK
    vmcall
    ret
"""

# What the interrupted guest has in every register, and what a function leaves there that keeps to no convention.
KEEPS = """
main:
    mov [rip + stack_was], rsp
    movdqu xmm0, [rip + pattern]
    movdqu xmm15, [rip + pattern + 16]
    fninit
    fldpi
    ldmxcsr [rip + rounding]
    mov rbx, 0x1111111111111111
    mov rbp, 0x2222222222222222
    mov r8, 0x3333333333333333
    mov r9, 0x4444444444444444
    mov r10, 0x5555555555555555
    mov r12, 0x6666666666666666
    mov r15, 0x7777777777777777
    mov qword ptr [rsp - 8], 0x77   ; the red zone
    mov qword ptr [rsp - 128], 0x78
    mov eax, ASK
    stc
    std
    vmcall
    pushfq
    cld
    pop rax
    mov [rip + flags_are], rax
    movdqu [rip + found], xmm0
    movdqu [rip + found + 16], xmm15
    stmxcsr [rip + found + 32]
    fstp qword ptr [rip + found + 40]
    mov rax, [rsp - 128]
    mov [rip + found + 48], rax
    xor eax, eax
    cmp rsp, [rip + stack_was]
    setne al
    ret
ruin:
    pxor xmm0, xmm0
    pxor xmm15, xmm15
    fninit
    fldz
    push 0x1f80
    ldmxcsr [rsp]
    add rsp, 8
    xor ebx, ebx
    xor ebp, ebp
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r12d, r12d
    xor r15d, r15d
    clc
    ret
"""


def test_an_exit_leaves_every_register_as_it_was() -> None:
    seen: list[tuple[int, ...]] = []

    def handler(machine: Machine, _n: int) -> int:
        state = lambda: (*(machine.vcpu.get(n) for n in range(16)), machine.vcpu.rip, machine.vcpu.exit.key)  # noqa: E731
        seen.append(state())
        machine.call("ruin", 1, 2, 3, 4, 5, 6)
        seen.append(state())
        return 0

    guest = Guest("keeps", paravirt=True)
    guest.constant("ASK", ASK)
    guest.asm(KEEPS)
    guest.data("pattern", bytes(range(1, 33)))
    guest.quads("rounding", [0x7FC0])  # toward zero, denormals are zeroes
    for label in ("stack_was", "flags_are"):
        guest.quads(label, [0])
    guest.data("found", bytes(64))

    @hypercall(ASK, "ask")
    def ask(machine, n: int) -> int:  # type: ignore[no-untyped-def]
        return handler(machine, n)

    with Machine(memory="4MiB", hypercalls=[ask]) as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=30)
        assert outcome.summary == "exited with status 0"
        assert seen[0] == seen[1]
        assert machine.image is not None
        found = machine.memory.read(machine.image.symbols["found"], 56)
        assert found[:32] == bytes(range(1, 33))
        assert int.from_bytes(found[32:36], "little") == 0x7FC0
        assert found[40:48] == (0x400921FB54442D18).to_bytes(8, "little")  # pi
        assert found[48:56] == (0x78).to_bytes(8, "little")
        flags = int.from_bytes(machine.memory.read(machine.image.symbols["flags_are"], 8), "little")
        assert flags & 0x401 == 0x401


DOWN = f"""
{MAIN}
down:                   ; down(n): ask(n), and what it said
    push rbx
    mov rbx, rdi
    mov eax, ASK
    vmcall
    pop rbx
    ret
"""


def recurse(machine: Machine, n: int) -> int:
    return machine.call("down", n - 1) + 1 if n else 0


@pytest.mark.parametrize("slice_ns", [1000, 20_000, 5_000_000])
@pytest.mark.parametrize("depth", range(1, CALL_DEPTH_MOST + 1))
def test_handler_and_function_in_turns_to_the_bound(make: Make, depth: int, slice_ns: int) -> None:
    counts = set()
    for _ in range(3):
        machine = make(
            f"main: mov edi, {depth}\n mov eax, ASK\n vmcall\n ret\n{DOWN.replace('main:', 'other:')}", recurse
        )
        machine.vcpu.set_slice(slice_ns)
        outcome = machine.run(timeout=60)
        assert outcome.status == depth
        assert outcome.calls == {"ask": depth + 1, "call_return": depth, "exit": 1}
        counts.add(tuple(outcome.exits.items()))
    assert counts == {(("MSR_WRITE", 1), ("VMCALL", 2 * depth + 2))}


def test_one_deeper_is_the_guest_s_to_try_again(make: Make) -> None:
    refused: list[GuestCallError] = []

    def handler(machine: Machine, n: int) -> int:
        try:
            return machine.call("down", n + 1)
        except GuestCallError as error:
            refused.append(error)
            raise

    outcome = make(MAIN + DOWN.replace("main:", "other:"), handler).run(timeout=30)
    assert outcome.status == -EAGAIN & 0xFF
    assert outcome.calls["call_return"] == CALL_DEPTH_MOST
    assert [str(error) for error in refused] == [f"down(): calls are nested {CALL_DEPTH_MOST} deep already"]
    assert refused[0].errno == EAGAIN
    assert refused[0].why is None


def test_calls_between_runs_nest_as_well(make: Make) -> None:
    machine = make(DOWN, recurse)
    machine.run(timeout=30)
    assert machine.call("down", CALL_DEPTH_MOST - 1) == CALL_DEPTH_MOST - 1
    assert machine.call("down", CALL_DEPTH_MOST) == CALL_DEPTH_MOST - 1 - EAGAIN
    assert machine.call("down", 0) == 0


def test_a_run_goes_on_behind_calls_of_the_host(make: Make) -> None:
    """Between two runs, and with a handler that called: the same exits at the same time of the machine."""
    text = "main: mov ebx, 100\nagain: mov edi, ebx\n mov eax, ASK\n vmcall\n dec ebx\n jnz again\n ret\nnull: ret\n"
    plain = make(text).run(timeout=30)
    machine = make(text)
    while machine.run(max_exits=7, timeout=30).why is StopWhy.MAX_EXITS:
        assert machine.call("null", 1) == 0
    called = make(text, lambda machine, _n: machine.call("null")).run(timeout=30)
    assert machine.outcome is not None
    assert plain.status == machine.outcome.status == called.status
    assert plain.calls["ask"] == machine.outcome.calls["ask"] == called.calls["ask"] == 100
    assert called.calls["call_return"] == 100
    assert machine.outcome.calls["call_return"] == 14


def test_what_a_handler_raises_comes_out_of_the_call(make: Make) -> None:
    def handler(machine: Machine, n: int) -> int:
        if n:
            raise KeyError("inner")
        try:
            machine.call("down", 1)
        except KeyError as error:
            return 5 if error.args == ("inner",) else 6
        return 7

    assert make("main: xor edi, edi\n mov eax, ASK\n vmcall\n ret\n" + DOWN.replace("main:", "other:"), handler).run(
        timeout=30
    ).status == 5  # fmt: skip
    machine = make(DOWN, handler)
    machine.run(timeout=30, max_exits=1)
    with pytest.raises(KeyError, match="inner"):
        machine.call("down", 1)
    assert machine.call("down", 0) == 5


SPIN = f"{MAIN}\nspin: jmp spin\nasks: mov eax, ASK\n vmcall\n jmp asks\n"


def spins(machine: Machine, n: int) -> int:
    return 0 if n else machine.call("spin")


def from_another_thread(machine: Machine) -> threading.Thread:
    def stop() -> None:
        time.sleep(0.03)
        machine.stop(9)

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


def test_the_run_s_time_ends_the_function(make: Make) -> None:
    machine = make("main: xor edi, edi\n" + SPIN.replace("main:", "", 1), spins)
    outcome = machine.run(timeout=0.05)
    assert outcome.why is StopWhy.TIMEOUT
    assert machine.image is not None
    assert outcome.detail == f"in a function that the host called, at rip {machine.image.symbols['spin']:#x}"
    assert outcome.calls == {"ask": 1}
    outcome = machine.run(timeout=10)  # the guest was told to try again
    assert outcome.status == -EAGAIN & 0xFF


def test_the_run_s_exits_end_the_function(make: Make) -> None:
    machine = make(
        "main: xor edi, edi\n" + SPIN.replace("main:", "", 1), lambda machine, n: 0 if n else machine.call("asks", 1)
    )
    outcome = machine.run(max_exits=50, timeout=30)
    assert outcome.why is StopWhy.MAX_EXITS
    assert outcome.exits.total == 50
    assert machine.run(timeout=10).status == -EAGAIN & 0xFF


def test_a_stop_from_another_thread_ends_the_function(make: Make) -> None:
    machine = make("main: xor edi, edi\n" + SPIN.replace("main:", "", 1), spins)
    thread = from_another_thread(machine)
    outcome = machine.run(timeout=30)
    thread.join()
    assert (outcome.why, outcome.status) == (StopWhy.STOPPED, 9)
    thread = from_another_thread(machine)
    with pytest.raises(GuestCallError, match=r"spin\(\): did not return: stopped by the host with status 9, at rip 0x"):
        machine.call("spin", timeout=30)
    thread.join()
    assert machine.run(timeout=30).why is StopWhy.EXITED


def test_a_signal_ends_the_function(make: Make) -> None:
    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        machine = make("main: xor edi, edi\n" + SPIN.replace("main:", "", 1), spins)
        for ran in (lambda: machine.run(timeout=30), lambda: machine.call("spin", timeout=30)):
            signal.setitimer(signal.ITIMER_REAL, 0.03)
            with pytest.raises(KeyboardInterrupt):
                ran()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert machine.vcpu.running is False


def test_a_call_s_own_time_ends_nothing_else(make: Make) -> None:
    caught: list[GuestCallError] = []

    def handler(machine: Machine, n: int) -> int:
        try:
            return machine.call("spin", timeout=0.02)
        except GuestCallError as error:
            caught.append(error)
        return machine.call("null", n) + 3

    machine = make(SPIN + "null: ret\n", handler)
    assert machine.run(timeout=30).status == 3
    assert (caught[0].why, caught[0].errno) == (StopWhy.TIMEOUT, EAGAIN)
    with pytest.raises(GuestCallError) as between:
        machine.call("spin", timeout=0.02)
    assert between.value.why is StopWhy.TIMEOUT
    assert machine.call("null") == 0


def test_other_threads_get_their_turn(make: Make) -> None:
    ticks = []

    def tick() -> None:
        while len(ticks) < 5:
            ticks.append(None)
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    machine = make(SPIN)
    machine.run(timeout=30)
    thread.start()
    with pytest.raises(GuestCallError, match="time budget used up"):
        machine.call("spin", timeout=0.3)
    assert len(ticks) == 5
    thread.join()


def test_not_from_another_thread_while_the_guest_runs(make: Make) -> None:
    errors: list[str] = []

    def handler(machine: Machine, _n: int) -> int:
        def call() -> None:
            try:
                machine.call("null")
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return machine.call("null")

    assert make(MAIN + "null: ret\n", handler).run(timeout=30).ok
    assert errors == ["the machine runs in another thread: call from a hypercall's handler, or between runs"]


def test_not_from_a_timer(make: Make) -> None:
    machine = make("main: mov edi, 1\n mov eax, ASK\n vmcall\n ret\nnull: ret\n")
    errors: list[str] = []

    def fire() -> None:
        try:
            machine.call("null")
        except RuntimeError as error:
            errors.append(str(error))

    machine.clock.at(1, fire)
    assert machine.run(timeout=30).ok
    assert errors == ["a running guest is called from the handler of a hypercall only"]


def test_no_run_and_no_close_in_a_call(make: Make) -> None:
    errors: list[str] = []

    def handler(machine: Machine, _n: int) -> int:
        for verb in (machine.run, machine.close):
            try:
                verb()
            except RuntimeError as error:
                errors.append(str(error))
        return 0

    machine = make(DOWN, handler)
    machine.run(timeout=30)
    first = list(errors)
    errors.clear()
    assert machine.call("down", 0) == 0
    assert len(first) == 2
    assert errors == first


EVENTS = abi.STRUCT_BY_NAME["event_page"]
UPCALL = f"""
main:
    mov rdi, page
    lea rsi, [upcall]
    mov eax, {abi.BY_NAME["event_page"].number}
    vmcall
    mov eax, {abi.BY_NAME["event_open"].number}
    vmcall
    mov [rip + port], rax
    mov byte ptr [page + {EVENTS.offset("enabled")}], 1
    mov eax, ASK
    vmcall
    mov rax, [rip + taken]
    ret
raise_event:
    mov rdi, [rip + port]
    mov eax, {abi.BY_NAME["event_send"].number}
    vmcall
    mov rax, [rip + taken]      ; whether it has come already
    ret
wait:
    mov eax, {abi.BY_NAME["event_wait"].number}
    vmcall
    ret
upcall:
    inc qword ptr [rip + taken]
    push rax
    mov eax, {abi.BY_NAME["return_from_event"].number}
    vmcall
"""


def test_events_wait_until_the_exit_is_over(make: Make) -> None:
    found: list[int] = []

    def handler(machine: Machine, _n: int) -> int:
        found.append(machine.call("raise_event"))
        found.append(machine.call("wait"))  # what is pending already
        return 0

    outcome = make(UPCALL, handler, {"page": 4096, "port": 8, "taken": 8}).run(timeout=30)
    assert found == [0, 0]
    assert outcome.status == 1


def test_a_call_return_without_a_call(make: Make) -> None:
    number = abi.BY_NAME["call_return"].number
    outcome = make(f"main: mov eax, {number}\n vmcall\n ret\n").run(timeout=30)
    assert outcome.status == -EPERM & 0xFF
    assert outcome.calls == {"call_return": 1, "exit": 1}
