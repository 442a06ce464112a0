"""A machine in a process of its own does what any machine does; and whatever ends its worker is an outcome."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guest_sdk import Guest
from guest_sdk.examples import hello
from hypercalls import U32, GuestBytes, GuestString, hypercall
from hypercalls.plugin import Plugin
from pv import Console, LoadError, Machine, StopWhy
from pv.disk import Disk
from pv.dispatch import Collision, Row, Shape
from pv.exits import NEXT, GuestError, Reason, Reply, fault, stop
from pv.isolation import ProcessMachine
from pv.memory import GuestMemory
from pv.plugin import PluginError
from pv.snapshot import SnapshotError

SPIN = "main:\nagain:\njmp again"


def guest(body: str) -> bytes:
    made = Guest("isolated", paravirt=True)
    made.bss("space", 4096, align=4096)
    made.asm(body.replace(";", "\n"))
    return made.build()


def calls(number: int, *arguments: str, then: str = "ret") -> bytes:
    """A guest that makes one call and ends with the low 8 bits of its result."""
    registers = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
    loads = "".join(f"mov {register}, {value};" for register, value in zip(registers, arguments, strict=False))
    return guest(f"main:; {loads} mov eax, {number:#x}; vmcall; {then}")


def machine(**options: Any) -> Machine:
    return Machine(isolation="process", memory="2MiB", **options)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children_left(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_it_is_a_machine_in_another_process() -> None:
    with machine() as made:
        assert isinstance(made, Machine)
        assert isinstance(made, ProcessMachine)
        assert made.process_id != os.getpid()
        made.load(hello.build())
        outcome = made.run(timeout=20)
    with Machine(memory="2MiB") as here:
        here.load(hello.build())
        expected = here.run(timeout=20)
    for name in ("why", "status", "detail", "exits", "by_key", "calls", "events", "console", "record", "rip", "code"):
        assert getattr(outcome, name) == getattr(expected, name), name


def test_an_unmodified_guest() -> None:
    with Machine(isolation="process", technique="trap", memory="2MiB") as made:
        made.load(bytes.fromhex("b0 07 e6 f4"))  # mov al, 7; out 0xf4, al
        assert made.run(timeout=20).status == 7


def test_it_takes_what_a_machine_takes() -> None:
    ours = inspect.signature(ProcessMachine.__init__).parameters
    theirs = inspect.signature(Machine.__init__).parameters
    assert list(ours) == list(theirs)
    assert {name for name in ours if ours[name].default != theirs[name].default} == {"isolation"}


def test_every_verb_of_a_machine_is_its_own() -> None:
    verbs = {name for name, value in vars(Machine).items() if callable(value) and not name.startswith("_")}
    as_they_are = {"close", "function", "call", "take_image", "own"}  # of Machine's, on what the worker is asked
    assert verbs - as_they_are <= set(vars(ProcessMachine))


def test_snapshots_are_refused_in_a_line() -> None:
    with Machine(memory="2MiB") as here:
        snapshot = here.snapshot()
    with machine() as made:
        for ask in (made.snapshot, made.fork, lambda: made.restore(snapshot)):
            with pytest.raises(SnapshotError, match="a process of its own"):
                ask()
    with pytest.raises(ValueError, match="cannot begin with a snapshot"):
        Machine.from_snapshot(snapshot, isolation="process")


def test_an_isolation_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="isolation='thread' is not known: none, process"):
        Machine(isolation="thread")


# ---- handlers ----


def test_a_handler_lives_here_with_its_state() -> None:
    seen: list[tuple[int, bytes, str]] = []

    @hypercall(0x8001, "note")
    def note(machine: Machine, number: U32, data: GuestBytes, text: GuestString) -> int:
        seen.append((os.getpid(), data, text))
        machine.state["noted"] = machine.state.get("noted", 0) + number
        machine.console.write(f"noted {text}")
        return len(seen) + 40

    body = """
    main: mov qword ptr [space], 0x6f6c6568; mov edi, 5; lea rsi, [space]; mov edx, 2
    lea r10, [space]; mov r8d, 4; mov eax, 0x8001; vmcall; mov eax, 0x8001; vmcall; ret
    """
    with machine(hypercalls=[note]) as made:
        made.load(guest(body))
        outcome = made.run(timeout=20)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 42)
        assert seen == [(os.getpid(), b"he", "helo")] * 2
        assert made.state["noted"] == 10
        assert outcome.calls["note"] == 2
        assert outcome.console == "noted helo" * 2


def test_registers_and_memory_in_a_handler_and_after() -> None:
    @hypercall(0x8001, "look")
    def look(machine: Machine, gpa: int) -> int:
        vcpu = machine.vcpu
        assert vcpu.rdi == gpa
        assert vcpu.exit.reason == Reason.VMCALL
        assert vcpu.now_ns == machine.clock.now_ns
        vcpu.rbx = 0x1122
        assert vcpu.read_linear(vcpu.rip, 3) == bytes.fromhex("0f01c1")
        machine.memory.write_uint(gpa, 8, 0x99)
        assert vcpu.virtual.cr0 & 1
        return 0

    with machine(hypercalls=[look]) as made:
        made.load(calls(0x8001, "0x1ff000", then="mov rax, [0x1ff000]; ret"))
        outcome = made.run(timeout=20)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0x99), outcome.summary
        assert made.vcpu.rbx == 0x1122
        made.vcpu.rcx = 5
        assert made.vcpu.get(1) == 5
        assert made.vcpu.counters()[Reason.VMCALL, 0x8001] == 1
        with pytest.raises(AttributeError, match="no 'nonsense'"):
            _ = made.vcpu.nonsense
        with pytest.raises(AttributeError, match="worker process's own"):
            made.vcpu.bind(None)
        with pytest.raises(RuntimeError, match="cannot be a timer"):
            made.clock.at(5, print)
        with pytest.raises(IndexError):
            made.vcpu.get(16)


def test_a_handler_that_calls_back_into_the_table() -> None:
    @hypercall(0x8001, "outer")
    def outer(machine: Machine) -> int:
        return int(machine.vcpu.call(0x8002, (20,)))

    @hypercall(0x8002, "inner")
    def inner(machine: Machine, value: int) -> int:
        return value + int(machine.vcpu.call(0x1000, ()))  # abi_version, in the worker

    with machine(hypercalls=[outer, inner]) as made:
        made.load(calls(0x8001))
        outcome = made.run(timeout=20)
        assert outcome.status == 21
        assert outcome.calls == {"outer": 1, "inner": 1, "abi_version": 1, "exit": 1} | outcome.calls


REPLIES = [(5, 5), (None, 0), (stop(9), 9), (Reply(NEXT.kind), 1)]


@pytest.mark.parametrize(("answer", "status"), REPLIES, ids=["int", "nothing", "stop", "next"])
def test_what_a_handler_may_answer(answer: Any, status: int) -> None:
    class Rows:
        name = "rows"

        def rows(self, _machine: Any) -> Iterator[Row]:
            yield Row(Reason.VMCALL, 0x8001, 0x8001, lambda: answer, "rows", "ask", Shape.CALL)

    if answer is None:

        @hypercall(0x8001, "ask")
        def ask(machine: Machine) -> None:
            machine.state["asked"] = 1

        given: Any = ask
    else:
        given = Rows()
    with machine(hypercalls=[given]) as made:
        made.load(calls(0x8001))
        assert made.run(timeout=20).status == status


def test_a_refusal_and_a_fault_reach_the_guest() -> None:
    @hypercall(0x8001, "refuse")
    def refuse(_machine: Machine) -> int:
        raise GuestError(28, "full")

    @hypercall(0x8002, "harm")
    def harm(_machine: Machine) -> Reply:
        return fault(13, 0)

    with machine(hypercalls=[refuse, harm]) as made:
        made.load(calls(0x8001, then="neg rax; ret"))
        assert made.run(timeout=20).status == 28
    with machine(hypercalls=[refuse, harm]) as made:
        made.load(calls(0x8002))
        outcome = made.run(timeout=20)
        assert outcome.why is StopWhy.SHUTDOWN
        assert "vector 13" in outcome.detail


def test_rows_of_every_shape_live_here() -> None:
    class Rows:
        name = "chips"

        def __init__(self) -> None:
            self.written: list[tuple[int, int, int]] = []

        def rows(self, machine: Any) -> Iterator[Row]:
            def leaf(exit: Any) -> Reply:
                machine.vcpu.rax = exit.key + 1
                return NEXT

            yield Row(Reason.CPUID, 0x5000, 0x5000, leaf, self.name, "leaf")
            every = (Reason.IO_INSTRUCTION, 0x500, 0x50F)
            yield Row(*every, lambda offset, size: offset * 16 + size, self.name, "in", Shape.READ)
            yield Row(*every, lambda *written: self.written.append(written), self.name, "out", Shape.WRITE)

    chips, theirs = Rows(), Rows()
    body = """
    main: mov eax, 0x5000; cpuid; mov ebx, eax; mov edx, 0x503; in ax, dx; add ebx, eax; out dx, al; mov eax, ebx; ret
    """
    with machine(hypercalls=[chips]) as made, Machine(memory="2MiB", hypercalls=[theirs]) as here:
        for one in (made, here):
            one.load(guest(body))
        outcome, expected = made.run(timeout=20), here.run(timeout=20)
        assert (outcome.why, outcome.status, outcome.by_key) == (expected.why, expected.status, expected.by_key)
        assert chips.written == theirs.written


def test_a_handlers_exception_is_run_s_and_the_guest_goes_on() -> None:
    tries: list[int] = []

    @hypercall(0x8001, "try")
    def attempt(_machine: Machine) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("a handler's own mistake")
        return 3

    with machine(hypercalls=[attempt]) as made:
        made.load(calls(0x8001))
        with pytest.raises(LookupError, match="own mistake") as caught:
            made.run(timeout=20)
        assert "attempt" in "".join(str(entry.frame.code.name) for entry in caught.traceback)
        assert made.run(timeout=20).status == 3


def test_a_number_that_no_register_holds_is_the_handlers_mistake() -> None:
    @hypercall(0x8001, "large")
    def large(_machine: Machine) -> int:
        return 1 << 70

    with machine(hypercalls=[large]) as made:
        made.load(calls(0x8001))
        with pytest.raises(ValueError, match="not in -4095"):
            made.run(timeout=20)


def test_grants_quotas_and_batches_know_the_handlers_here() -> None:
    @hypercall(0x8001, "once", batchable=False)
    def once(_machine: Machine) -> int:
        return 7

    with machine(hypercalls=[once], grants=["exit"]) as made:
        made.load(calls(0x8001, then="neg rax; ret"))
        assert made.run(timeout=20).status == 1  # EPERM
    with machine(hypercalls=[once], quotas={"once": 0}) as made:
        made.load(calls(0x8001, then="neg rax; ret"))
        assert made.run(timeout=20).status == 11  # EAGAIN
    batch = """
    main: lea rdi, [space]; mov qword ptr [rdi], 0x8001; mov esi, 1; mov eax, 0x1060; vmcall
    mov rax, [space + 56]; neg rax; ret
    """
    with machine(hypercalls=[once]) as made:
        made.load(guest(batch))
        assert made.run(timeout=20).status == 22  # EINVAL


def test_a_collision_names_both() -> None:
    @hypercall(0x8001, "console_write")
    def mine(_machine: Machine) -> int:
        return 0

    with pytest.raises(Collision, match="console_write"):
        machine(hypercalls=[mine])


def test_a_plugin_given_keeps_its_state_here_and_is_torn_down() -> None:
    told: list[str] = []

    @hypercall(0x8001, "kept")
    def kept(machine: Machine) -> int:
        found: int = machine.state["keeper"]["value"]
        return found

    keeper = Plugin(
        "keeper",
        "1",
        (kept,),
        on_set_up=lambda _machine: {"value": 33},
        on_tear_down=lambda machine: told.append(f"down {machine.state['keeper']['value']}"),
    )
    with machine(hypercalls=[keeper]) as made:
        made.load(calls(0x8001))
        assert made.run(timeout=20).status == 33
    assert told == ["down 33"]


# ---- console, trace, disks, options ----


def test_the_console_is_the_caller_s() -> None:
    said: list[bytes] = []
    with machine(console=said.append) as made:
        made.load(hello.build())
        made.run(timeout=20)
    assert b"".join(said) == b"hello, world\n"
    mine = Console(kept_bytes=5)
    with machine(console=mine) as made:
        made.load(hello.build())
        assert made.run(timeout=20).console == "hello"
    assert mine.dropped == 8


def test_an_echo_that_raises_is_run_s() -> None:
    def echo(_data: bytes) -> None:
        raise OSError("nobody listens")

    with machine(console=echo) as made:
        made.load(hello.build())
        with pytest.raises(OSError, match="nobody listens"):
            made.run(timeout=20)


def test_a_flood_is_whole_and_ends() -> None:
    flood = """
    main: mov rbx, 0
    again: lea rdi, [main]; mov esi, 4000; mov eax, 0x1010; vmcall; test rax, rax; js full; add rbx, rax; jmp again
    full: neg rax; ret
    """
    with machine(console=Console(most_bytes=1_000_001)) as made:
        made.load(guest(flood))
        outcome = made.run(timeout=60)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 28)
        assert made.vcpu.rbx == 1_000_001
        assert len(made.console.data) == 1_000_001
        assert outcome.console_refused == 3999 + 4000
        assert any("console is full" in note for note in made.notes)


def test_a_trace_is_written_here() -> None:
    here: list[str] = []
    there: list[str] = []
    for lines, isolation in ((here, "none"), (there, "process")):
        with Machine(memory="2MiB", isolation=isolation, trace=lines.append) as made:
            made.load(hello.build())
            made.run(timeout=20)
    assert here == there
    assert len(here) == 3


def test_options_and_errors_of_the_worker_s_machine_are_told_here() -> None:
    with machine(options={"monitor_pages": 2000}) as made:
        assert made.options["monitor_pages"] == 2000
        assert made.call_numbers["exit"] == 0x1003
    with pytest.raises(ValueError, match="nonsense"):
        machine(options={"nonsense": 1})
    with pytest.raises(ValueError, match="no hypercall is named 'nonsense'"):
        machine(grants=["nonsense"])
    with machine() as made, pytest.raises(LoadError, match="empty file"):
        made.load(b"")
    with machine() as made:
        made.load(hello.build())
        with pytest.raises(RuntimeError, match="has a guest already"):
            made.load(hello.build())
        assert made.image is not None
        assert made.image.abi_version == 1
    with machine() as made, pytest.raises(RuntimeError, match="there is no guest"):
        made.run()


def test_what_cannot_cross_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="engine=: an object of this process"):
        machine(engine=lambda *_a, **_k: None)
    with pytest.raises(ValueError, match="memory=: an object of this process"):
        Machine(isolation="process", memory=GuestMemory(1 << 20))
    with machine() as probe:
        native = Row(Reason.CPUID, 1, 1, print, "given", "native", Shape.NATIVE)
        assert probe.pc is None

    class Natives:
        name = "natives"

        def rows(self, _machine: Any) -> list[Row]:
            return [native]

    with pytest.raises(ValueError, match="cannot be reached from its worker"):
        machine(hypercalls=[Natives()])
    (tmp_path / "disk").write_bytes(bytes(512))
    disk = Disk(tmp_path / "disk", "cow")
    disk.write_from(memoryview(bytes(512)), 0)
    with pytest.raises(ValueError, match="is in this process"):
        machine(disks=[disk])
    disk.close()


def test_disks_are_opened_in_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").write_bytes(bytes(512))
    monkeypatch.chdir(tmp_path)
    with machine(disks=["disk"]) as made:
        assert [disk.size_bytes for disk in made.disks] == [512]


# ---- memory ----


def test_memory_is_one_and_the_same() -> None:
    with machine() as made:
        made.load(guest("main: mov rax, [0x1ff000]; mov qword ptr [0x1ff008], 77; ret"))
        made.memory.write_uint(0x1FF000, 8, 9)
        assert made.run(timeout=20).status == 9
        assert made.memory.read_uint(0x1FF008, 8) == 77


def test_patched_code_runs_as_patched() -> None:
    with machine() as made:
        made.load(guest("main: mov ecx, 0; again: mov eax, 1; inc ecx; cmp ecx, 1000000; jne again; ret"))
        first = made.run(max_exits=1)
        assert first.why in (StopWhy.MAX_EXITS, StopWhy.EXITED)
    with machine() as made:
        made.load(guest(SPIN))
        assert made.run(timeout=0.05).why is StopWhy.TIMEOUT
        made.patch(made.vcpu.rip, bytes.fromhex("b8 03 10 00 00 bf 05 00 00 00 0f 01 c1"))  # exit(5)
        outcome = made.run(timeout=20)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 5)


# ---- stopping ----


def test_budgets_end_a_run_that_can_go_on() -> None:
    with machine() as made:
        made.load(guest("main:; again: mov eax, 0x1020; vmcall; jmp again"))
        first = made.run(max_exits=10)
        assert (first.why, first.exits.total) == (StopWhy.MAX_EXITS, 10)
        assert made.run(max_exits=5).exits.total == 15
        assert made.run(timeout=0.05).why is StopWhy.TIMEOUT


def test_a_handler_and_another_thread_can_stop_it() -> None:
    @hypercall(0x8001, "enough")
    def enough(machine: Machine) -> int:
        machine.stop(6)
        return 0

    with machine(hypercalls=[enough]) as made:
        made.load(calls(0x8001, then="again: jmp again"))
        outcome = made.run(timeout=60)
        assert (outcome.why, outcome.status) == (StopWhy.STOPPED, 6)
        thread = threading.Timer(0.1, made.stop, (4,))
        thread.start()
        outcome = made.run(timeout=60)
        thread.join()
        assert (outcome.why, outcome.status) == (StopWhy.STOPPED, 4)


def test_while_it_runs_another_thread_can_stop_it_and_no_more() -> None:
    refusals: list[str] = []
    with machine() as made:

        def meddle() -> None:
            time.sleep(0.1)
            for ask in (lambda: made.vcpu.rax, made.close, made.run):
                try:
                    ask()
                except RuntimeError as error:
                    refusals.append(str(error))
            made.stop()

        made.load(guest(SPIN))
        thread = threading.Thread(target=meddle)
        thread.start()
        assert made.run(timeout=60).why is StopWhy.STOPPED
        thread.join()
    assert len(refusals) == 3


def test_ctrl_c_stops_the_guest_and_it_can_go_on() -> None:
    with machine() as made:
        made.load(guest(SPIN))
        thread = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            made.run(timeout=60)
        thread.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert made.run(timeout=0.05).why is StopWhy.TIMEOUT


def test_an_exception_out_of_the_blue_ends_the_worker_and_is_raised() -> None:
    def alarm(_number: int, _frame: Any) -> None:
        raise TimeoutError("out of the blue")

    before = signal.signal(signal.SIGUSR2, alarm)
    try:
        with machine() as made:
            made.load(guest(SPIN))
            thread = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2))
            thread.start()
            with pytest.raises(TimeoutError, match="out of the blue"):
                made.run(timeout=60)
            thread.join()
            outcome = made.run(timeout=1)
            assert outcome.why is StopWhy.ENGINE_ABORT
            assert "cut a conversation" in outcome.detail
    finally:
        signal.signal(signal.SIGUSR2, before)


# ---- crashes ----


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGBUS", "SIGILL", "SIGFPE"])
def test_a_worker_s_death_is_an_outcome(name: str) -> None:
    @hypercall(0x8001, "die")
    def die(machine: Machine) -> int:
        os.kill(machine.process_id, signal.Signals[name])
        time.sleep(0.05)
        return 0

    with machine(hypercalls=[die]) as made:
        made.load(calls(0x8001))
        outcome = made.run(timeout=20)
        assert outcome.why is StopWhy.ENGINE_ABORT
        assert outcome.detail == f"the worker process ended by {name}"
        assert outcome.summary == f"engine abort: the worker process ended by {name}"
        assert not outcome.resumable
        with pytest.raises(RuntimeError, match="the guest has ended: engine abort"):
            made.run()
        with pytest.raises(RuntimeError, match=name):
            _ = made.vcpu.rax
        process = made.process_id
    assert not children_left(process)


def test_a_worker_that_dies_between_runs_is_an_outcome_of_the_next() -> None:
    with machine() as made:
        made.load(guest(SPIN))
        made.run(timeout=0.01)
        os.kill(made.process_id, signal.SIGSEGV)
        outcome = made.run(timeout=5)
        assert (outcome.why, outcome.detail) == (StopWhy.ENGINE_ABORT, "the worker process ended by SIGSEGV")


def test_what_the_guest_said_before_the_crash_is_there() -> None:
    @hypercall(0x8001, "die")
    def die(machine: Machine) -> int:
        os.kill(machine.process_id, signal.SIGSEGV)
        return 0

    body = """
    main: mov rax, 0x6f77207473616c20; mov [space], rax; lea rdi, [space]; mov esi, 8; mov eax, 0x1010; vmcall
    mov eax, 0x8001; vmcall; again: jmp again
    """
    with machine(hypercalls=[die]) as made:
        made.load(guest(body))
        assert made.run(timeout=20).console == " last wo"


def test_the_engine_s_own_abort_is_an_outcome_as_ever() -> None:
    """LOCK BT of a register aborts the engine's translator; the worker outlives that, so the place is known."""
    with Machine(isolation="process", technique="trap", memory="2MiB") as made:
        made.load(bytes.fromhex("f0 0f a3 c8"))
        outcome = made.run(timeout=20)
        assert outcome.why is StopWhy.ENGINE_ABORT
        assert outcome.rip == 0x100000


def test_a_hung_worker_is_killed() -> None:
    @hypercall(0x8001, "freeze")
    def freeze(machine: Machine) -> int:
        os.kill(machine.process_id, signal.SIGSTOP)
        return 0

    with machine(hypercalls=[freeze]) as made:
        made._link.grace_s = 0.2
        made.load(calls(0x8001))
        outcome = made.run(timeout=0.1)
        assert outcome.why is StopWhy.ENGINE_ABORT
        assert outcome.detail == "the worker process was 0.2 s late with its answer and was killed"
    with machine(hypercalls=[freeze]) as made:  # without a budget, what somebody asked of it is one
        made._link.grace_s = 0.2
        made.load(calls(0x8001))
        thread = threading.Timer(0.1, made.stop)
        thread.start()
        assert made.run().why is StopWhy.ENGINE_ABORT
        thread.join()


def test_a_slow_handler_is_no_hung_worker() -> None:
    @hypercall(0x8001, "slow")
    def slow(_machine: Machine) -> int:
        time.sleep(0.5)
        return 1

    with machine(hypercalls=[slow]) as made:
        made._link.grace_s = 0.2
        made.load(calls(0x8001, then="again: jmp again"))
        assert made.run(timeout=0.1).why is StopWhy.TIMEOUT


# ---- what is left behind ----


def test_nothing_is_left_behind() -> None:
    def one(crash: bool) -> int:
        with machine() as made:
            made.load(hello.build())
            assert made.run(timeout=20).status == 0
            if crash:
                os.kill(made.process_id, signal.SIGKILL)
            return made.process_id

    one(False)
    gc.collect()
    before = descriptors()
    processes = [one(number % 3 == 0) for number in range(30)]
    assert descriptors() == before
    one(False)  # the one before is reaped by now
    assert [process for process in processes if children_left(process)] == []
    assert len(set(processes)) == 30


def test_a_machine_that_is_dropped_takes_its_worker_along() -> None:
    made: Any = machine()
    process = made.process_id
    del made
    gc.collect()
    with machine():
        assert not children_left(process)


def test_a_machine_refused_leaves_nothing() -> None:
    machine().close()
    before = descriptors()
    for _ in range(3):
        with pytest.raises(ValueError, match="nonsense"):
            machine(options={"nonsense": 1})
    assert descriptors() == before


def test_a_parent_that_dies_takes_its_workers_along() -> None:
    program = (
        "import os, signal\nfrom pv import Machine\n"
        "made = Machine(isolation='process', memory='2MiB')\n"
        "made.load(bytes.fromhex('ebfe'))\n"
        "print(made.process_id, flush=True)\nmade.run(timeout=60)\n"
    )
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert children_left(process)
        parent.kill()
    for _ in range(100):
        if not children_left(process):
            break
        time.sleep(0.05)
    assert not children_left(process)


def test_machines_in_threads() -> None:
    statuses: list[int | None] = []

    def one() -> None:
        for _ in range(4):
            with machine() as made:
                made.load(hello.build())
                statuses.append(made.run(timeout=30).status)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 12


class Unwilling:
    """A plugin that cannot be set up."""

    name, version, calls, features = "unwilling", "1", (), ()

    def set_up(self, _machine: Any) -> None:
        raise ValueError("not today")

    def rows(self, _machine: Any) -> list[Any]:
        return []


def test_a_machine_that_was_never_made_leaves_no_descriptor() -> None:
    for _ in range(2):  # the first one starts the zygote
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(PluginError, match="not today"):
            Machine(memory="2MiB", isolation="process", hypercalls=[Unwilling()])
        gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
