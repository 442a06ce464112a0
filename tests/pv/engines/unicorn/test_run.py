"""A run always returns: from guests that spin, fault, call or return for ever, and from those that break the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pv.exits import StopWhy
from tests.pv.engines.unicorn.guests import (
    CODE,
    DATA,
    DB,
    EXCEPTION,
    GP,
    PF,
    TF,
    UD,
    ParavirtGuest,
    Ports,
    TrapGuest,
    assemble,
)

Trap = Callable[..., TrapGuest]
Paravirt = Callable[..., ParavirtGuest]
SHORT_S = 0.05


def faulting_handler(guest: TrapGuest) -> None:
    """#PF is taken on an interrupt stack by a handler in an unmapped page: no instruction is ever executed again."""
    guest.gate(PF, 0x55555000, ist=1)


def iret_loop(guest: TrapGuest) -> None:
    guest.gate(UD, DATA)
    guest.memory.write(DATA, assemble("iretq"))


def undefined_handler(guest: TrapGuest) -> None:
    """Each #UD raises the next one, on a stack that never grows."""
    guest.gate(UD, DATA, ist=1)
    guest.memory.write(DATA, assemble("ud2"))


def step_forever(guest: TrapGuest) -> None:
    guest.gate(DB, DATA)
    guest.memory.write(DATA, assemble("iretq"))


FOREVER = [
    ("jmp .", "again: jmp again", None, None),
    ("a fault in the handler's own page", "mov al, [0x55555000]", faulting_handler, (EXCEPTION, "#PF")),
    ("a fault that returns to itself", "ud2", iret_loop, ("IRET", "")),
    ("a handler that faults", "ud2", undefined_handler, (EXCEPTION, "#UD")),
    ("single steps", f"push {TF | 2}; popfq; again: jmp again", step_forever, (EXCEPTION, "#DB")),
    ("a string without end", "mov edx, 0x77; again: mov edi, 0x200000; mov ecx, 0x10000; rep insb; jmp again",
     None, ("IO_INSTRUCTION", "port 0x77 read")),
    ("cli and sti", "again: cli; sti; jmp again", None, ("INTERRUPT_FLAG", "CLI")),
    ("null stack segments", "xor edx, edx; again: mov ss, dx; jmp again", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("code", "prepare", "kind"), [row[1:] for row in FOREVER], ids=[row[0] for row in FOREVER])
def test_a_guest_that_never_ends(
    trap: Trap, code: str, prepare: Callable[[TrapGuest], None] | None, kind: tuple[str, str] | None
) -> None:
    guest = trap(code)
    if "rep" in code:
        Ports(guest)
    if prepare:
        prepare(guest)
    outcome = guest.run(timeout=SHORT_S, max_exits=None)
    assert outcome.why is StopWhy.TIMEOUT
    assert outcome.resumable
    if kind is None:
        return
    before = outcome.by_key[kind]
    total = outcome.exits.total
    assert before > 0
    outcome = guest.run(timeout=20, max_exits=1000)
    assert (outcome.why, outcome.exits.total) == (StopWhy.MAX_EXITS, total + 1000)
    assert outcome.by_key[kind] > before


def test_hypercalls_for_ever(paravirt: Paravirt) -> None:
    guest = paravirt("again: mov eax, 0x7777; vmcall; jmp again")
    outcome = guest.run(timeout=SHORT_S, max_exits=None)
    assert outcome.why is StopWhy.TIMEOUT
    assert outcome.exits["VMCALL"] == outcome.exits.total > 0
    before = outcome.exits.total
    assert guest.run(max_exits=10).exits == {"VMCALL": before + 10}


def test_a_paravirtual_guest_that_faults_for_ever(paravirt: Paravirt) -> None:
    guest = paravirt("ud2")
    guest.trap(UD, CODE)
    outcome = guest.run(timeout=20, max_exits=None)
    assert outcome.why is StopWhy.SHUTDOWN  # its stack ends
    assert outcome.events["double faults"] == 1


@pytest.mark.parametrize("slice_ns", [1000, 50_000])
def test_time_passes_up_to_the_next_timer_for_a_guest_that_only_spins(unmodified: Trap, slice_ns: int) -> None:
    guest = unmodified("again: cmp byte ptr [0x130000], 0; je again; ud2")
    fired: list[int] = []

    def fire() -> None:
        fired.append(guest.vcpu.now_ns)
        guest.memory.write(DATA, b"\x01")

    guest.machine.clock.at(3_333_333, fire)
    guest.vcpu.set_slice(slice_ns)
    assert guest.run(max_exits=None).status == UD
    assert fired == [3_333_333]


def test_short_slices_do_not_make_time_pass(unmodified: Trap) -> None:
    """A timer is set; the loops without an exit last some slices each, and less than a guest's patience."""
    guest = unmodified("mov ebp, 50; again: cpuid; mov ecx, 50000; wait: dec ecx; jnz wait; dec ebp; jnz again; ud2")
    guest.machine.clock.at(1 << 40, lambda: None)
    guest.vcpu.set_slice(1000)
    assert guest.run().status == UD
    assert guest.vcpu.slices > 1
    assert guest.vcpu.now_ns == 1000 * sum(guest.vcpu.counters().values())


def test_time_passes_on_a_clock_page_that_is_looked_at(paravirt: Paravirt) -> None:
    guest = paravirt(f"again: cmp qword ptr [{DATA + 8}], 2000000; jb again; ud2")
    guest.vcpu.set_clock_page(DATA)
    assert guest.run(max_exits=None).status == UD
    assert guest.word(DATA + 8) == guest.vcpu.now_ns >= 2_000_000
    assert guest.word(DATA) % 2 == 0


def test_computing_takes_no_time_where_there_is_nothing_to_wait_for(trap: Trap) -> None:
    guest = trap("mov ecx, 3000000; again: dec ecx; jnz again; rdtsc; ud2")
    guest.vcpu.set_slice(1000)
    assert guest.run().status == UD
    assert guest.vcpu.slices > 3
    assert guest.vcpu.now_ns == 1000 * sum(guest.vcpu.counters().values())


def test_the_widest_exit_budget_is_none(paravirt: Paravirt) -> None:
    guest = paravirt("mov eax, 0x7000; vmcall; again: jmp again")
    assert guest.run(timeout=SHORT_S, max_exits=None).exits.total == 1
    assert guest.run(timeout=SHORT_S, max_exits=(1 << 64) - 1).why is StopWhy.TIMEOUT


def test_stop_from_another_thread(unmodified: Trap) -> None:
    guest = unmodified("again: jmp again")
    timer = threading.Timer(SHORT_S, guest.machine.stop, [5])
    timer.start()
    outcome = guest.run(timeout=20, max_exits=None)
    timer.join()
    assert (outcome.why, outcome.status) == (StopWhy.STOPPED, 5)


@pytest.mark.parametrize(
    ("code", "bytes_"), [(b"\xf0\x0f\xa3\xc0", "f0 0f a3 c0"), (b"\xf0\x0f\xba\xe8\x01", "f0 0f ba e8 01")]
)
def test_an_abort_of_the_engine_ends_the_machine_alone(unmodified: Trap, code: bytes, bytes_: str) -> None:
    guest = unmodified(b"\x90" + code)
    outcome = guest.run()
    assert outcome.why is StopWhy.ENGINE_ABORT
    assert not outcome.resumable
    assert bytes_ in outcome.detail
    assert f"{CODE:#x}" in outcome.detail
    with pytest.raises(RuntimeError):
        guest.run()
    assert unmodified("int 0x40").run().status == 0x40  # the next machine is healthy


def test_a_jump_into_nothing(unmodified: Trap) -> None:
    guest = unmodified("mov rax, 0x3ff000; jmp rax")
    guest.gate(PF, ist=1)
    assert guest.run().status == PF  # no-execute
    assert guest.frame(error=True)[:2] == (0x11, 0x3FF000)
    guest = unmodified("mov rax, 0x800000000000; jmp rax")
    assert guest.run().status == GP


def test_a_page_of_no_memory_and_no_device_is_unhandled(trap: Trap) -> None:
    guest = trap("mov eax, 0x3ff000; mov rcx, [rax]")
    at = guest.page_entry(0x100000)
    assert at
    directory = guest.word(guest.word(guest.vcpu.virtual.cr3) & ~0xFFF) & ~0xFFF
    guest.memory.write_uint(directory + 8, 8, 0xFEE00083)  # the large page at 0x200000 maps what is not there
    outcome = guest.run()
    assert outcome.why is StopWhy.UNHANDLED
    assert "no memory and no device" in outcome.detail
    assert outcome.record[-1].rip == CODE + 5


def test_the_flight_record_has_the_last_64_exits(trap: Trap) -> None:
    guest = trap("mov ecx, 100; again: cli; dec ecx; jnz again; hlt; ud2")
    guest.vcpu.virtual.idt_limit = 0
    guest.vcpu.set_interrupt_source(lambda: -1)
    outcome = guest.run()
    assert outcome.why is StopWhy.HALTED
    record = guest.vcpu.flight_record()
    assert len(record) == 64
    assert [entry.number for entry in record] == list(range(outcome.exits.total - 64, outcome.exits.total))
    assert [entry.registers[1] for entry in record[:63]] == list(range(63, 0, -1))
    assert record[-1].code.startswith(b"\xf4\x0f\x0b")
