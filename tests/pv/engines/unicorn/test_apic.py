"""APIC virtualization, counted: without it each access is an exit, with it none; and what it leaves to the chip."""

from __future__ import annotations

from typing import Any, Final

import pytest

from pv.devices.interrupt_queue import PlainQueue, save_queue
from pv.exits import StopWhy
from tests.pv.engines.unicorn.apic_guests import (
    COUNT,
    DFR,
    DIVIDE,
    EOI,
    ICR,
    ICR_HIGH,
    ISR,
    LDR,
    LVT_LINT0,
    LVT_TIMER,
    OFF,
    ON,
    PPR,
    SELF,
    SELF_IPI,
    SVR,
    TPR,
    VERSION,
    apic_guest,
    end,
    get,
    put,
    start_exits,
    virtualized,
)
from tests.pv.snapshots import finish

EVENT: Final = 0x41
TURNS: Final = 40


def handler(*, msrs: bool = False) -> dict[int, str]:
    return {EVENT: f"inc r14; {end(msrs=msrs)}"}


# ---- exact counts: off, each access is one exit; on, none ----


@pytest.mark.parametrize(
    ("register", "value", "msrs", "name"),
    [
        (ICR, SELF | EVENT, False, ("MMIO", "APIC ICR low write")),
        (ICR, SELF | EVENT, True, ("MSR_WRITE", "X2APIC_ICR")),
        (SELF_IPI, EVENT, True, ("MSR_WRITE", "X2APIC_SELF_IPI")),
    ],
)
def test_a_self_ipi_and_its_end(register: int, value: int, msrs: bool, name: tuple[str, str]) -> None:
    code = f"sti; mov r15d, {TURNS}; again: {put(register, value, msrs=msrs)} dec r15d; jnz again; mov r13, r14"
    ended = ("MSR_WRITE", "X2APIC_EOI") if msrs else ("MMIO", "APIC EOI write")
    for technique, exits in ((OFF, {name: TURNS, ended: TURNS}), (ON, {})):
        with apic_guest(code, handler(msrs=msrs), technique, msrs=msrs) as made:
            outcome = made.run()
            assert (outcome.status, made.vcpu.get(13)) == (0xEE, TURNS)
            assert outcome.by_key == {**start_exits(msrs=msrs), **exits}
            assert outcome.events["interrupts delivered"] == TURNS
            if technique == ON:
                assert virtualized(outcome) == (2 * TURNS, TURNS)
            else:
                assert "APIC accesses virtualized" not in outcome.events


@pytest.mark.parametrize("msrs", [False, True])
def test_a_timer_and_its_end(msrs: bool) -> None:
    """Off, a tick is HLT and EOI; on, HLT alone. A period is 16 * 1000 ns."""
    registers = {DIVIDE: 3, LVT_TIMER: 0x20000 | EVENT, COUNT: 1000}
    start = "".join(put(register, value, msrs=msrs) for register, value in registers.items())
    stop = put(LVT_TIMER, 0x10000 | EVENT, msrs=msrs)
    code = f"{start} sti; again: hlt; cmp r14, {TURNS}; jb again; {stop}"
    name = ("MSR_WRITE", "X2APIC_{}") if msrs else ("MMIO", "APIC {} write")

    def write(register: str) -> tuple[str, str]:
        return name[0], name[1].format(register.replace(" ", "_") if msrs else register)

    common = {
        **start_exits(msrs=msrs),
        ("HLT", ""): TURNS,
        **{write("DIVIDE"): 1, write("LVT TIMER"): 2, write("INITIAL COUNT"): 1},
    }
    for technique, exits in ((OFF, {write("EOI"): TURNS}), (ON, {})):
        with apic_guest(code, handler(msrs=msrs), technique, msrs=msrs) as made:
            outcome = made.run()
            assert (outcome.status, outcome.by_key) == (0xEE, {**common, **exits})
            assert made.vcpu.now_ns // 16_000 == TURNS
            if technique == ON:
                assert virtualized(outcome) == (TURNS, TURNS)


@pytest.mark.parametrize("msrs", [False, True])
def test_the_task_priority_by_register_and_by_cr8(msrs: bool) -> None:
    """Raised before a self-IPI and lowered after it, each way: the interrupt comes with the lowering."""
    by_register = (
        f"{put(TPR, 0x50, msrs=msrs)} {put(ICR, SELF | EVENT, msrs=msrs)} mov r12, r14; {put(TPR, 0, msrs=msrs)}"
    )
    send = put(ICR, SELF | EVENT, msrs=msrs)
    by_cr8 = f"mov eax, 4; mov cr8, rax; {send} mov r13, r14; xor eax, eax; mov cr8, rax; "
    code = f"sti; {by_register} {by_cr8} mov r11, cr8; {get(TPR, msrs=msrs)}"
    for technique in (OFF, ON):
        with apic_guest(code, handler(msrs=msrs), technique, msrs=msrs) as made:
            outcome = made.run()
            assert [made.vcpu.get(number) for number in (12, 13, 14, 11)] == [0, 1, 2, 0]
            if technique == ON:
                assert outcome.by_key == start_exits(msrs=msrs)
                assert virtualized(outcome) == (9, 2)
            else:
                assert outcome.exits["CR_ACCESS"] == 2
                assert outcome.exits["MSR_WRITE" if msrs else "MMIO"] == 7


@pytest.mark.parametrize("bad", [16, 1 << 63])
def test_a_cr8_that_cannot_be_faults(bad: int) -> None:
    with apic_guest(f"mov rax, {bad}; mov cr8, rax", {}, ON) as made:
        outcome = made.run()
        assert (outcome.status, outcome.exits["CR_ACCESS"], virtualized(outcome)) == (13, 1, (0, 0))


# ---- what still exits ----


@pytest.mark.parametrize(
    ("code", "msrs"),
    [
        (put(ICR, SELF | 0x00F), False), (put(ICR, 0x80000 | EVENT), False), (put(ICR, 0xC0000 | EVENT), False),
        (put(ICR, EVENT), False), (put(ICR, SELF | 0x8000 | EVENT), False), (put(ICR, SELF | 0x100 | EVENT), False),
        (put(SVR, 0x1FF), False), (put(LDR, 1 << 24), False), (put(DFR, 0), False), (put(LVT_LINT0, 0x10000), False),
        (put(SELF_IPI, EVENT), False), (put(ISR, 0), False), (get(COUNT), False), (get(EOI), False),
        (get(0x280), False),
        (put(ICR, 0x80000 | EVENT, msrs=True), True), (put(SELF_IPI, 0x0F, msrs=True), True),
        (put(SVR, 0x1FF, msrs=True), True), (get(COUNT, msrs=True), True),
    ],
)  # fmt: skip
def test_what_virtualization_leaves_to_the_chip(code: str, msrs: bool) -> None:
    with apic_guest(code, handler(msrs=msrs), ON, msrs=msrs) as made:
        outcome = made.run()
        assert (outcome.status, virtualized(outcome)) == (0xEE, (0, 0))
        assert outcome.exits["MSR_READ"] + outcome.exits["MSR_WRITE"] == 3 if msrs else outcome.exits["MMIO"] == 1


@pytest.mark.parametrize(
    ("register", "value"), [(TPR, 0x100), (EOI, 1), (EOI, 1 << 32), (SELF_IPI, 0x141), (ICR, SELF | 1 << 20 | EVENT),
                            (ICR_HIGH, 0), (DFR, 0), (PPR, 0), (ISR, 0)],
)  # fmt: skip
def test_a_msr_that_cannot_be_written_so_faults(register: int, value: int) -> None:
    with apic_guest(put(register, value, msrs=True), {}, ON, msrs=True) as made:
        outcome = made.run()
        assert (outcome.status, virtualized(outcome)) == (13, (0, 0))


def test_the_end_of_a_level_triggered_interrupt_exits() -> None:
    """The pin stays driven, so its end has it ask again, until the handler masks it."""
    entry = 0x8000 | EVENT
    masks = f"inc r14; cmp r14, 2; jb once; {put(LVT_LINT0, 0x10000 | entry)} once: {end()}"
    with apic_guest(f"{put(LVT_LINT0, entry)} sti; nop; mov r13, r14", {EVENT: masks}, ON) as made:
        made.machine.pc.apic.lint(0, True)
        outcome = made.run()
        assert (outcome.status, made.vcpu.get(13), virtualized(outcome)) == (0xEE, 2, (0, 2))
        assert outcome.by_key == {("MMIO", "APIC LVT LINT0 write"): 2, ("MMIO", "APIC EOI write"): 2, **start_exits()}


def test_an_8259_comes_past_the_queue() -> None:
    """Python is asked for its vector, and no task priority holds it off; the end of its interrupt is its own."""
    pic = "".join(
        f"mov al, {value}; out {port}, al; "
        for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE))
    )
    pit = "mov al, 0x34; out 0x43, al; mov al, 0x88; out 0x40, al; mov al, 0x13; out 0x40, al; "
    code = f"{pic}{pit} {put(TPR, 0xFF)} {put(ICR, SELF | EVENT)} sti; hlt; hlt; mov r13, r14; {put(TPR, 0)}"
    handlers = {
        0x20: "inc r14; push rax; mov al, 0x20; out 0x20, al; pop rax; iretq",
        EVENT: f"add r14, 0x100; {end()}",
    }
    with apic_guest(code, handlers, ON) as made:
        outcome = made.run()
        assert (made.vcpu.get(13), made.vcpu.get(14)) == (2, 0x102)
        assert virtualized(outcome) == (4, 1)
        assert outcome.events["interrupts delivered"] == 3


def test_what_is_withdrawn_wakes_nobody() -> None:
    with apic_guest(f"{put(ICR, SELF | EVENT)} {put(TPR, 0x50)} sti; hlt", handler(), ON) as made:
        outcome = made.run()
        assert (outcome.why, made.vcpu.get(14)) == (StopWhy.HALTED, 0)


def test_a_disabled_apic_is_not_virtualized() -> None:
    off = "mov ecx, 0x1b; rdmsr; and eax, 0xfffff7ff; wrmsr; "
    code = f"{off} {get(VERSION)} mov r12d, eax; mov eax, 3; mov cr8, rax; mov r13, cr8"
    with apic_guest(code, {}, ON) as made:
        outcome = made.run()
        assert (made.vcpu.get(12), made.vcpu.get(13), virtualized(outcome)) == (0xFFFF_FFFF, 3, (0, 0))


@pytest.mark.parametrize("msrs", [False, True])
def test_a_snapshot_has_the_queue_and_what_the_processor_was_told(msrs: bool) -> None:
    """Taken in a handler, another vector waiting and the priority raised: by CPUID, which exits."""
    send, lower = put(ICR, SELF | 0x42, msrs=msrs), put(TPR, 0, msrs=msrs)
    code = f"{put(TPR, 0x30, msrs=msrs)} sti; {put(ICR, SELF | EVENT, msrs=msrs)} mov r13, r14; {lower} mov r12, r14"
    handlers = {
        EVENT: f"inc r14; push rbx; push rax; push rcx; push rdx; {send} xor eax, eax; cpuid; "
        f"pop rdx; pop rcx; pop rax; pop rbx; {end(msrs=msrs)}",
        0x42: f"add r14, 0x100; {end(msrs=msrs)}",
    }
    with apic_guest(code, handlers, ON, msrs=msrs) as made:
        assert made.run(max_exits=1 + 2 * msrs).why is StopWhy.MAX_EXITS
        queue = made.vcpu.interrupt_queue
        assert (queue.requested, queue.in_service, queue.task_priority) == (1 << 0x42, 1 << EVENT, 0x30)
        saved = made.machine.snapshot()
        with made.machine.fork() as child:
            forked = finish(child)
        first = finish(made.machine)
        assert (first["registers"][14], first["registers"][13]) == (0x101, 0x101)
        made.machine.restore(saved)
        assert save_queue(queue) != save_queue(PlainQueue())
        assert finish(made.machine) == first == forked


@pytest.mark.parametrize(
    ("intercept", "code", "msrs", "exits"),
    [
        ("cr8.write", "mov cr8, r14; ", False, {("CR_ACCESS", "CR8 write"): 1}),
        ("msr", put(EOI, 0, msrs=True), True, {("MSR_WRITE", "X2APIC_EOI"): 1}),
        ("cr3", put(EOI, 0), False, {}),
    ],
)
def test_what_is_intercepted_comes_first(intercept: str, code: str, msrs: bool, exits: dict[Any, int]) -> None:
    with apic_guest(code, {}, ON, msrs=msrs, options={"intercept": intercept}) as made:
        outcome = made.run()
        assert outcome.by_key == {**start_exits(msrs=msrs), **exits}
        assert virtualized(outcome) == (1 - len(exits), 0)


def test_a_storm_without_exits_ends_with_its_budget() -> None:
    with apic_guest(f"sti; again: {put(ICR, SELF | EVENT)} jmp again", handler(), ON) as made:
        outcome = made.run(timeout=0.1)
        assert (outcome.why, outcome.exits) == (StopWhy.TIMEOUT, {})
        accesses, interrupts = virtualized(outcome)
        assert 2 * interrupts - accesses in (0, 1), "each was sent, delivered and ended, the last perhaps not yet"


def test_a_handler_that_interrupts_itself_runs_out_of_stack() -> None:
    nests = {EVENT: f"sti; {put(EOI, 0)}{put(ICR, SELF | EVENT)} nop; iretq"}
    with apic_guest(f"sti; {put(ICR, SELF | EVENT)}", nests, ON) as made:
        outcome = made.run()
        assert (outcome.why, outcome.exits) == (StopWhy.SHUTDOWN, {})
