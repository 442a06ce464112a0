"""Guests that never end by themselves: whatever they spend their time on, a budget ends the run, and names itself.

No test here says how long anything took: a run that did not end would be the suite's own time-out.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guest_sdk import Guest
from hypercalls import hypercall
from pv.exits import StopWhy
from pv.machine import Machine
from tests.fuzz.runner import Between
from tests.hostile.guests import MEMORY_BYTES, run_flat, run_sdk
from tests.hostile.test_engine_faults import load_with_handler
from tests.pv.engines.unicorn_memory.machines import assemble

BUDGETS = (StopWhy.TIMEOUT, StopWhy.MAX_EXITS)
TECHNIQUES = ("paravirt", "trap", "hardware")

LOOPS = {
    "a jump to itself": "again: jmp again",
    "a loop of calls": "mov rsp, 0x180000; again: call next; next: pop rax; jmp again",
    "LOOP to itself, for ever": "again: xor ecx, ecx; dec rcx; back: loop back; jmp again",
    "REP LODSB that goes nowhere": "again: mov rsi, 0x110000; mov ecx, 0x80000; rep lodsb; jmp again",
    "REP STOSB over data": "again: mov rdi, 0x110000; mov ecx, 0x80000; rep stosb; jmp again",
    "REP MOVSQ onto itself": "again: mov rsi, 0x110000; mov rdi, rsi; mov ecx, 0x10000; rep movsq; jmp again",
    "REPE CMPSB of equal bytes": "again: mov rsi, 0x110000; mov rdi, 0x120000; mov ecx, 0x80000; repe cmpsb; jmp again",
    "REPNE SCASB that finds nothing": "mov al, 1; again: mov rdi, 0x110000; mov ecx, 0x80000; repne scasb; jmp again",
    "code that rewrites what is ahead": "lea rdi, [0x100011]; again: inc al; mov [rdi], al; nop; mov bl, 0; jmp again",
    "arithmetic alone": "again: imul rax, rbx; add rcx, rax; ror rcx, 7; jmp again",
    "x87 state saved and restored": "clts; again: fninit; fnsave [0x110000]; frstor [0x110000]; jmp again",
}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS)
def test_a_loop_without_an_exit_ends_by_its_time(text: str, technique: str) -> None:
    text = text.removeprefix("clts; ") if technique == "paravirt" else text
    outcome, machine = run_flat(text, technique, timeout=0.05)
    assert outcome.why is StopWhy.TIMEOUT, outcome.summary
    assert machine.outcome is outcome


FAULTLESS = {
    "REP INSB from no port": "again: mov rdi, 0x110000; mov ecx, 0xffff; mov edx, 0x3ff; rep insb; jmp again",
    "REP OUTSB": "again: mov rsi, 0x110000; mov ecx, 0xffff; mov edx, 0x3ff; rep outsb; jmp again",
    "IN": "again: in al, 0x61; jmp again",
    "CPUID": "again: cpuid; jmp again",
    "RDTSC": "again: rdtsc; jmp again",
    "MOV to CR3 of the same tables": "mov rax, cr3; again: mov cr3, rax; jmp again",
    "INVLPG": "again: invlpg [0x110000]; jmp again",
    "CLI and STI": "again: cli; sti; jmp again",
    "PIT reprogrammed for ever": "again: mov al, 0x34; out 0x43, al; out 0x40, al; out 0x40, al; jmp again",
}


@pytest.mark.parametrize("text", FAULTLESS.values(), ids=FAULTLESS)
def test_a_storm_of_exits_ends_by_either_budget(text: str) -> None:
    for timeout, max_exits, expected in ((60, 2000, StopWhy.MAX_EXITS), (0.03, 1 << 40, StopWhy.TIMEOUT)):
        outcome, _ = run_flat(text, "trap", timeout=timeout, max_exits=max_exits)
        assert outcome.why is expected, outcome.summary


def storm(calls: Callable[[Guest], None]) -> Guest:
    guest = Guest("storm", paravirt=True)
    guest.bss("space", 4096 * 65, align=4096)
    guest.asm("main:\nagain:")
    calls(guest)
    guest.asm("jmp again")
    return guest


STORMS: dict[str, Callable[[Guest], None]] = {
    "abi_version": lambda guest: guest.call.abi_version(),
    "map and unmap": lambda guest: (guest.call.map(0x4000_0000, 0, 256, 3), guest.call.unmap(0x4000_0000, 256))[0],
    "spaces made and never destroyed": lambda guest: guest.call.space_create(),
    "ports opened and never closed": lambda guest: guest.call.event_open(),
    "the largest map there is": lambda guest: guest.call.map(0x4000_0000, 0, 1 << 20, 3),
    "a batch of 4096 calls of nothing": lambda guest: guest.call.multicall("space", 4096),
    "page updates of nothing": lambda guest: guest.call.page_update("space", 4096),
    "a clock page set again": lambda guest: guest.call.clock_page("space"),
}


@pytest.mark.parametrize("calls", STORMS.values(), ids=STORMS)
def test_a_storm_of_hypercalls_ends_by_either_budget(calls: Callable[[Guest], None]) -> None:
    for timeout, max_exits, expected in ((60, 300, StopWhy.MAX_EXITS), (0.05, 1 << 40, StopWhy.TIMEOUT)):
        outcome, _ = run_sdk(storm(calls), timeout=timeout, max_exits=max_exits)
        assert outcome.why is expected, outcome.summary


def test_a_batch_of_slow_calls_obeys_the_time_budget() -> None:
    """The budget is looked at between the entries of a batch: those after it get -EAGAIN."""
    stopped: list[int] = []

    @hypercall(0x8001, "slow")
    def slow(_machine: Machine) -> int:
        stopped.append(1)
        end = 0
        for number in range(40_000):
            end += number
        return 0

    guest = Guest("batch", paravirt=True)
    guest.bss("space", 64 * 4096, align=4096)
    guest.asm(
        "main:\nlea rdi, [space]\nmov ecx, 4096\nfill: mov qword ptr [rdi], 0x8001\nadd rdi, 64\ndec ecx\njnz fill"
    )
    guest.asm("again:")
    guest.call.multicall("space", 4096)
    guest.asm("jmp again")
    outcome, _ = run_sdk(guest, timeout=0.05, hypercalls=[slow])
    assert outcome.why is StopWhy.TIMEOUT
    assert len(stopped) < 4096


@pytest.mark.parametrize(
    "body",
    ["ud2", "int3", "mov rax, 0x8000000000000000; mov rax, [rax]", "mov eax, [0x40000000]", "int 0x80", "div cl"],
    ids=["#UD", "#BP", "#GP", "#PF", "INT n", "#DE"],
)
def test_a_storm_of_exceptions_ends_by_either_budget(body: str) -> None:
    """The handler faults in its turn, each frame lower on the stack, or goes back to where it came from."""
    text = f"mov rsp, 0x180000; xor ecx, ecx; again: {body}; jmp again"
    for handler in (f"{body}; iretq", "mov rsp, 0x180000; mov rax, 0x100000; jmp rax"):
        for timeout, max_exits in ((60, 3000), (0.05, 1 << 40)):
            with Machine(memory=Between(MEMORY_BYTES), technique="trap") as machine:
                load_with_handler(machine, assemble(text), handler)
                outcome = machine.run(timeout=timeout, max_exits=max_exits)
            assert outcome.why in (*BUDGETS, StopWhy.SHUTDOWN), outcome.summary


def test_a_paravirtual_storm_of_exceptions_ends_by_either_budget() -> None:
    guest = Guest("storm", paravirt=True)
    guest.bss("table", 32 * 16, align=16)
    guest.asm("main:\nlea rdi, [table]\nxor ecx, ecx\nlea rax, [again]")
    guest.asm("fill: mov [rdi], ecx\nmov qword ptr [rdi + 8], rax\nadd rdi, 16\ninc ecx\ncmp ecx, 32\njne fill")
    guest.call.set_trap_table("table", 32)
    guest.asm("again: mov rsp, 0x70000\nud2\njmp again")
    for timeout, max_exits, expected in ((60, 500, StopWhy.MAX_EXITS), (0.05, 1 << 40, StopWhy.TIMEOUT)):
        outcome, _ = run_sdk(guest, timeout=timeout, max_exits=max_exits)
        assert outcome.why is expected, outcome.summary


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("direction", ["", "std;"])
@pytest.mark.parametrize("string", ["rep stosb", "rep stosq", "rep movsb"])
def test_rep_over_all_memory_ends_at_memorys_end(string: str, direction: str, technique: str) -> None:
    """Through the code that runs it and the tables beneath, to where there is no memory or its code is gone."""
    text = f"xor ecx, ecx; dec rcx; mov rdi, 0x110000; mov rsi, 0x118000; {direction} {string}; ud2"
    outcome, machine = run_flat(text, technique, timeout=20)
    assert outcome.why in (StopWhy.SHUTDOWN, StopWhy.UNHANDLED), outcome.summary
    assert machine.outcome is outcome


def test_a_machine_that_waits_for_nothing_has_ended() -> None:
    guest = Guest("waits", paravirt=True)
    guest.bss("page", 4096, align=4096)
    guest.asm("main:")
    guest.call.event_page("page", 0)
    guest.call.event_wait()
    guest.asm("ret")
    outcome, _ = run_sdk(guest)
    assert outcome.why is StopWhy.HALTED
    outcome, _ = run_flat("cli; hlt", "trap")
    assert outcome.why is StopWhy.HALTED
