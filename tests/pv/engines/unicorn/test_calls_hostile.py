"""Functions that do not do as they are called: none harms the host, and each ends as something that is said."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from errno import EIO, EPERM
from pathlib import Path
from typing import Any

import pytest

from guest_sdk import Guest, abi
from hypercalls import hypercall
from pv import GuestCallError, GuestError, Machine, StopWhy
from pv.engines.unicorn import EngineError

ROOT = Path(__file__).resolve().parents[4]
ASK = 0x8001
PAGE_LABEL = "hypercall_page"
Handler = Callable[[Any, int], int]
Make = Callable[..., Machine]


def number(name: str) -> str:
    return f"mov eax, {abi.BY_NAME[name].number:#x}\n vmcall\n"


MAIN = "main: mov eax, ASK\n vmcall\n ret\nnull: mov rax, rdi\n ret\n"


@pytest.fixture
def make() -> Iterator[Make]:
    """make(text, handler) -> a machine whose hypercall `ask` (RDI), which CPL 3 may make too, handler answers."""
    with ExitStack() as stack:

        def machine(text: str, handler: Handler = lambda machine, _n: machine.call("bad"), **options: Any) -> Machine:
            @hypercall(ASK, "ask", user_allowed=True)
            def ask(machine: Any, n: int) -> int:
                return handler(machine, n)

            made = stack.enter_context(Machine(**{"memory": "4MiB", "hypercalls": [ask], **options}))
            guest = Guest("hostile", paravirt=True)
            guest.constant("ASK", ASK)
            guest.asm(text)
            guest.bss("room", 0x2000, 4096)
            guest.bss("table", 4096, 4096)
            made.load(guest.build())
            return made

        yield machine


ENDS = {
    "exits": (f"bad: mov edi, 42\n {number('exit')}", StopWhy.EXITED, 42),
    "waits for ever": (
        f"bad: mov rdi, room\n lea rsi, [null]\n {number('event_page')} {number('event_wait')} ret\n",
        StopWhy.HALTED,
        None,
    ),
    "undefined": ("bad: ud2\n", StopWhy.SHUTDOWN, None),
    "halts": ("bad: hlt\n ret\n", StopWhy.SHUTDOWN, None),
    "its stack at zero": ("bad: xor esp, esp\n ret\n", StopWhy.SHUTDOWN, None),
    "its stack outside memory": ("bad: mov rsp, 0x40000000\n ret\n", StopWhy.SHUTDOWN, None),
    "its stack not canonical": ("bad: mov rsp, 0x8000000000000000\n ret\n", StopWhy.SHUTDOWN, None),
    "its stack overwritten": ("bad: mov qword ptr [rsp], 0x1234\n ret\n", StopWhy.SHUTDOWN, None),
    "to memory that is not there": ("bad: mov rax, 0x40000000\n jmp rax\n", StopWhy.SHUTDOWN, None),
    "without its page": (
        f"bad: mov rdi, [rsp]\n and rdi, -4096\n mov esi, 1\n {number('unmap')} ret\n", StopWhy.SHUTDOWN, None,
    ),
    "to CPL 0": ("bad: xor eax, eax\n mov ss, eax\n again: jmp again\n", StopWhy.TIMEOUT, None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "why", "status"), ENDS.values(), ids=ENDS)
def test_the_run_ends_so_too(make: Make, text: str, why: StopWhy, status: int | None) -> None:
    outcome = make(MAIN + text).run(timeout=0.3)
    assert (outcome.why, outcome.status) == (why, status)
    assert "in a function that the host called, at rip 0x" in outcome.detail


@pytest.mark.parametrize("name", ENDS)
def test_between_runs_it_is_the_call_s_error(make: Make, name: str) -> None:
    text, why, status = ENDS[name]
    machine = make(MAIN + text, lambda _machine, _n: 0)
    machine.run(timeout=30)
    before = (machine.vcpu.rip, machine.vcpu.rsp, machine.vcpu.cpl)
    with pytest.raises(GuestCallError) as caught:
        machine.call("bad", timeout=0.1)
    assert caught.value.why is why
    assert str(caught.value).startswith(f"bad(): did not return: {why.value}")
    if status is not None:
        assert caught.value.status == status
    assert (machine.vcpu.rip, machine.vcpu.rsp, machine.vcpu.cpl) == before
    if name != "without its page":
        assert machine.call("null", 7) == 7


def test_a_handler_that_goes_on_does_not_hold_up_the_end(make: Make) -> None:
    seen: list[str] = []

    def handler(machine: Any, _n: int) -> int:
        for function in ("bad", "null"):
            try:
                machine.call(function)
            except GuestCallError as error:
                seen.append(str(error))
        return 5

    outcome = make(MAIN + ENDS["exits"][0], handler).run(timeout=30)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 42)
    assert "exited with status 42" in seen[0]
    assert seen[1] == "null(): the run is at its end: exited"


def test_faults_with_a_trap_handler_are_the_function_s_own(make: Make) -> None:
    text = f"""
main:
    mov rdi, table
    mov dword ptr [rdi], 6
    lea rax, [skip]
    mov [rdi + 8], rax
    mov esi, 1
    {number("set_trap_table")}
    mov eax, ASK
    vmcall
    ret
skip:
    add qword ptr [rsp], 2
    push rax
    {number("return_from_event")}
bad:
    mov eax, 3
    ud2
    ud2
    inc eax
    ret
"""
    outcome = make(text).run(timeout=30)
    assert outcome.status == 4
    assert outcome.by_key["EXCEPTION_NMI", "#UD"] == 2


def test_a_function_that_returns_twice(make: Make) -> None:
    """The second time there is no call: -EPERM, and the INT3 behind it."""
    text = (
        "main: mov eax, ASK\n vmcall\n mov rbx, rax\n jmp [rip + room]\nbad: mov rax, [rsp]\n mov [rip + room], rax\n"
    )
    outcome = make(text + "mov eax, 9\n ret\n").run(timeout=30)
    assert outcome.why is StopWhy.SHUTDOWN
    assert outcome.calls == {"ask": 1, "call_return": 2}
    assert outcome.record[-1].registers[0] == -EPERM & (1 << 64) - 1
    assert outcome.record[-1].registers[3] == 9


def test_a_function_that_jumps_past_its_caller(make: Make) -> None:
    """The first return ends the innermost call, whoever makes it; calls end one by one."""
    text = """
main:
    xor edi, edi
    mov eax, ASK
    vmcall
    ret
outer:
    mov [room], rsp
    mov edi, 1
    mov eax, ASK
    vmcall
behind:
    inc qword ptr [room + 8]
    mov rax, [room + 8]
    ret
jumps:
    mov rsp, [room]
    jmp behind
"""
    found: list[int] = []

    def handler(machine: Any, n: int) -> int:
        found.append(machine.call("jumps" if n else "outer"))
        return found[-1]

    outcome = make(text, handler).run(timeout=30)
    assert found == [1, 2]
    assert outcome.status == 2


@pytest.mark.parametrize("rsp", ["0", "0x40000000", "0x8000000000000000", "0xffffffffffffffff", "64", "0x1000"])
def test_a_stack_that_takes_nothing(make: Make, rsp: str) -> None:
    text = f"main: mov rbx, rsp\n mov rsp, {rsp}\n mov eax, ASK\n vmcall\n mov rsp, rbx\n ret\nbad: ret\n"
    outcome = make(text).run(timeout=30)
    assert outcome.status == -EIO & 0xFF


def test_a_page_that_is_no_more(make: Make) -> None:
    text = f"main: mov ecx, {abi.HYPERCALL_PAGE_MSR:#x}\n xor eax, eax\n xor edx, edx\n wrmsr\n mov eax, ASK\n vmcall\n"
    outcome = make(text + "mov edi, eax\n" + number("exit") + "bad: ret\n").run(timeout=30)
    assert outcome.status == -EIO & 0xFF


SPACES = f"""
main:
    {number("space_create")}
    mov [room], rax
    mov edi, eax
    {number("space_switch")}
    mov eax, ASK
    vmcall
    ret
switches:
    xor edi, edi
    {number("space_switch")}
    ret
destroys:
    xor edi, edi
    {number("space_switch")}
    mov rdi, [room]
    {number("space_destroy")}
    ret
"""


def test_the_caller_s_address_space_comes_back(make: Make) -> None:
    spaces: list[int] = []

    def handler(machine: Any, _n: int) -> int:
        spaces.append(machine.vcpu.tables.active)
        assert machine.call("switches") == 0
        spaces.append(machine.vcpu.tables.active)
        return 3

    assert make(SPACES, handler).run(timeout=30).status == 3
    assert spaces[0] == spaces[1] != 0


def test_an_address_space_that_is_destroyed_ends_the_run(make: Make) -> None:
    outcome = make(SPACES, lambda machine, _n: machine.call("destroys")).run(timeout=30)
    assert outcome.why is StopWhy.UNHANDLED
    assert "the address space that the call was made in is destroyed" in outcome.detail


USER = f"""
main:
    mov rdi, room + 0x2000
    {{kernel_stack}}
    mov rdi, 0x400000       ; the program's page: this text
    lea rsi, [program]
    and rsi, -4096
    mov edx, 1
    mov r10d, {sum(abi.MAP_FLAGS[flag] for flag in ("MAP_PRESENT", "MAP_USER", "MAP_EXECUTE"))}
    {number("map")}
    lea rax, [program]
    and eax, 4095
    add rax, 0x400000
    push {abi.SELECTORS["USER_SS"]}
    push 0x400000
    push 2
    push {abi.SELECTORS["USER_CS"]}
    push rax
    push 0
    {number("return_from_event")}
program:
    mov eax, ASK
    vmcall
    mov edi, eax
    mov eax, ASK + 1
    vmcall
.hang: jmp .hang
bad:
    mov eax, cs
    and eax, 3
    ret
"""


@pytest.mark.parametrize("named", [True, False])
def test_a_program_s_call_is_answered_on_the_kernel_s_stack(make: Make, named: bool) -> None:
    @hypercall(ASK + 1, "done", user_allowed=True)
    def done(machine: Any, status: int) -> int:
        machine.stop(status & 0xFF)
        return 0

    stacks: list[int] = []

    @hypercall(ASK, "ask", user_allowed=True)
    def ask(machine: Any, n: int) -> int:  # noqa: ARG001 (a handler's signature)
        found = machine.call("bad")
        stacks.append(found)
        return int(found) + 10 * machine.vcpu.cpl

    text = USER.format(kernel_stack=number("set_kernel_stack") if named else "")
    outcome = make(text, hypercalls=[ask, done]).run(timeout=5)
    assert outcome.why is StopWhy.STOPPED
    assert outcome.status == (31 if named else -EIO & 0xFF)
    assert stacks == ([1] if named else [])


def test_a_program_cannot_return_for_the_kernel(make: Make) -> None:
    """The function leaves for CPL 3, and the program there says that it has returned."""
    text = USER.format(kernel_stack=number("set_kernel_stack")).replace(
        "program:", f"program:\n {number('call_return')} cmp eax, -{EPERM}\n jne .other\n ud2\n.other: jmp .other\n"
    )
    outcome = make(text.replace("main:", "bad:").replace("bad:\n    mov eax, cs", "end:\n    mov eax, cs") + MAIN).run(
        timeout=5
    )
    assert outcome.why is StopWhy.SHUTDOWN  # the UD2, for which there is no trap handler
    assert outcome.record[-1].cpl == 3


def test_an_abort_of_the_engine_in_a_function(make: Make) -> None:
    text = MAIN + "bad: .byte 0xf0, 0x0f, 0xab, 0xc0\n ret\n"  # LOCK BTS EAX, EAX
    deep = make(text)
    outcome = deep.run(timeout=30)
    assert outcome.why is StopWhy.ENGINE_ABORT
    assert "f0 0f ab c0" in outcome.detail
    with pytest.raises(EngineError, match="has ended"):
        deep.call("null")
    machine = make(text, lambda _machine, _n: 0)
    machine.run(timeout=30)
    with pytest.raises(GuestCallError, match="f0 0f ab c0") as caught:
        machine.call("bad")
    assert caught.value.why is StopWhy.ENGINE_ABORT
    with pytest.raises(EngineError, match="has ended"):
        machine.call("null")
    assert make(MAIN, lambda machine, _n: machine.call("null", 4)).run(timeout=30).status == 4


def test_a_sigabrt_between_calls_takes_its_course() -> None:
    """After a call the guard's handler may still stand: an abort of the process is none of its business."""
    code = """
        import os, signal
        from guest_sdk import Guest
        from pv import Machine
        guest = Guest("g", paravirt=True)
        guest.asm("main: xor eax, eax\\n ret\\nnull: ret\\n")
        with Machine(memory="2MiB") as machine:
            machine.load(guest.build())
            machine.run()
            machine.call("null")
            caught = []
            signal.signal(signal.SIGABRT, lambda *_: caught.append(1))
            os.kill(os.getpid(), signal.SIGABRT)
            machine.call("null")
            print("caught", caught, flush=True)
            signal.signal(signal.SIGABRT, signal.SIG_DFL)
            machine.call("null")
            os.abort()
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert ran.stdout == "caught [1]\n"
    assert ran.returncode == -6


def test_code_without_end_takes_no_code_of_the_waiting_guest(make: Make) -> None:
    """More blocks than the translation buffer holds, while the emulation beneath waits in its hypercall."""
    blocks = 6000
    sled = "\n".join(f"jmp .b{n}\n.b{n}:" for n in range(blocks))
    main = "main: mov ebx, 3\nagain: mov edi, ebx\n mov eax, ASK\n vmcall\n dec ebx\n jnz again\n ret\n"
    machine = make(f"{main} bad: {sled}\n mov eax, 6\n ret\n", options={"translation_buffer_bytes": 1 << 20})
    assert machine.run(timeout=60).status == 6


def test_code_that_is_written_in_a_call_is_what_runs(make: Make) -> None:
    def handler(machine: Any, n: int) -> int:
        if n == 0:
            first = machine.call("bad")
            machine.patch(machine.image.symbols["bad"] + 1, b"\x07")
            return int(first * 16 + machine.call("bad"))
        return 0

    text = "main: xor edi, edi\n mov eax, ASK\n vmcall\n ret\nbad: mov eax, 5\n ret\n"
    machine = make(text, handler)
    assert machine.run(timeout=30).status == 0x57
    assert machine.call("bad") == 7


@pytest.mark.parametrize("inside", [True, False])
def test_random_code(make: Make, inside: bool) -> None:
    """Whatever it does, the machine behind it can be asked, or says why not."""
    chance = random.Random(5 + inside)
    for _ in range(60):
        code = bytes(chance.randrange(256) for _ in range(40)).replace(b"\xf0", b"\x90")
        text = MAIN + "bad:\n" + "".join(f".byte {byte}\n" for byte in code) + "ret\n"
        machine = make(text, (lambda machine, _n: machine.call("bad", timeout=0.01)) if inside else lambda *_: 0)
        outcome = machine.run(timeout=1)
        assert outcome.exits.total > 0
        with suppress(GuestError, EngineError):
            machine.call("bad", timeout=0.01)
        assert machine.vcpu.running is False


@pytest.mark.parametrize("own", [True, False])
def test_calls_within_calls_share_the_time_of_the_first(make: Make, own: bool) -> None:
    """A function that has itself called for ever: at each depth the time is that of the call or the run around it."""
    text = f"main: xor edi, edi\n {number('memory_size')} ret\nbad: mov eax, ASK\n vmcall\n jmp bad\n"
    begin = "cmp qword ptr [room], 0\n je .done\n jmp bad\n.done: xor eax, eax\n ret\n"
    machine = make(text.replace("ret\n", begin, 1), lambda machine, _n: machine.call("bad", timeout=0.02))
    if own:
        assert machine.run(timeout=30).status == 0
        with pytest.raises(GuestCallError, match=r"bad\(\): did not return: time budget used up") as caught:
            machine.call("bad", timeout=0.1)
        assert caught.value.why is StopWhy.TIMEOUT
    else:
        machine.memory.write(machine.image.symbols["room"], b"\1")  # type: ignore[union-attr]  # it is loaded
        assert machine.run(timeout=0.1).why is StopWhy.TIMEOUT
