"""Guests that program their local APIC: each interrupt arrives, and every exit on the way is counted."""

from __future__ import annotations

from typing import Final

import pytest

from pv.exits import StopWhy
from tests.pv.engines.unicorn.guests import DATA, END, FILLS, GP, USER, TrapGuest

APIC: Final = 0xFEE0_0000
PAGE: Final = DATA + 0x4000  # where the guest maps it
DONE: Final = "; mov al, 0xee; out 0xf4, al"
ID, VERSION, TPR, EOI, SVR, ICR, LVT_TIMER, LVT_LINT0, COUNT, CURRENT, DIVIDE = (
    0x20, 0x30, 0x80, 0xB0, 0xF0, 0x300, 0x320, 0x350, 0x380, 0x390, 0x3E0
)  # fmt: skip
SELF: Final = 0x40000
PIC: Final = "".join(
    f"mov al, {value}; out {port}, al; "
    for port, value in ((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE))
)
PIT: Final = "mov al, 0x34; out 0x43, al; mov al, 0x88; out 0x40, al; mov al, 0x13; out 0x40, al; "


def put(register: int, value: int) -> str:
    return f"mov dword ptr [rbx + {register}], {value}; "


HANDLER: Final = f"inc r14; {put(EOI, 0)} iretq"


def guest(code: str, handlers: dict[int, str] | None = None) -> TrapGuest:
    """R14 counts what `handlers`, by vector, are entered for; RBX points at the APIC."""
    pieces: dict[int, str | bytes] = {}
    for index, text in enumerate((handlers or {0x41: HANDLER}).values()):
        pieces[USER + 0x100 * index] = text
    made = TrapGuest(f"mov ebx, {PAGE}; xor r14d, r14d; {code}{DONE}", pieces)
    for index, vector in enumerate(handlers or {0x41: HANDLER}):
        made.gate(vector, USER + 0x100 * index)
    at = made.page_entry(PAGE)
    made.memory.write_uint(at, 8, APIC | 0x1B)
    return made


def test_a_self_ipi_costs_two_device_exits_and_a_return() -> None:
    turns = 40
    code = f"sti; mov ecx, {turns}; again: {put(ICR, SELF | 0x41)} dec ecx; jnz again; mov r13, r14"
    with guest(code) as made:
        outcome = made.run()
        assert (outcome.status, made.vcpu.get(13)) == (0xEE, turns)
        assert outcome.by_key == {
            ("MMIO", "APIC ICR low write"): turns, ("MMIO", "APIC EOI write"): turns, ("IRET", ""): turns,
            ("INTERRUPT_FLAG", "STI"): 1, FILLS: outcome.by_key[FILLS], **END,
        }  # fmt: skip
        assert outcome.events["interrupts delivered"] == turns


def test_the_timer_wakes_a_guest_that_halts_and_its_time_is_exact() -> None:
    """Three exits a tick: EOI, IRETQ, HLT. A period is 16 * 1000 ns."""
    ticks = 30
    code = (
        f"{put(DIVIDE, 3)}{put(LVT_TIMER, 0x20041)}{put(COUNT, 1000)} sti; again: hlt; cmp r14, {ticks}; jb again; "
        f"{put(LVT_TIMER, 0x10041)} mov r12d, [rbx + {CURRENT}]"
    )
    with guest(code) as made:
        outcome = made.run()
        assert outcome.status == 0xEE
        assert outcome.by_key == {
            ("HLT", ""): ticks, ("MMIO", "APIC EOI write"): ticks, ("IRET", ""): ticks,
            ("MMIO", "APIC DIVIDE write"): 1, ("MMIO", "APIC LVT TIMER write"): 2,
            ("MMIO", "APIC INITIAL COUNT write"): 1, ("MMIO", "APIC CURRENT COUNT read"): 1,
            ("INTERRUPT_FLAG", "STI"): 1, FILLS: outcome.by_key[FILLS], **END,
        }  # fmt: skip
        now = made.vcpu.now_ns
        assert 0 < made.vcpu.get(12) <= 1000
        repeated = []
        for _ in range(2):
            with guest(code) as again:
                repeated.append((again.run().by_key, again.vcpu.now_ns))
        assert repeated == [(outcome.by_key, now)] * 2
        assert now // 16_000 == ticks


def test_a_one_shot_is_calibrated_against_the_8254() -> None:
    """5000 clocks of the 8254 are 4,190,476 ns. The first tick fills the shadow, which takes time: not measured."""
    code = (
        f"{PIC}{PIT} {put(DIVIDE, 0xB)}{put(LVT_TIMER, 0x10041)}{put(COUNT, 0xFFFFFFFF)} sti; hlt; hlt; "
        f"mov r12d, [rbx + {CURRENT}]; hlt; mov r13d, [rbx + {CURRENT}]"
    )
    with guest(code, {0x20: "mov al, 0x20; out 0x20, al; iretq"}) as made:
        assert made.run().status == 0xEE
        assert abs(made.vcpu.get(12) - made.vcpu.get(13) - 5000 * 1_000_000_000 // 1_193_182) <= 1


def test_the_8259_comes_through_until_lint0_is_masked() -> None:
    """Virtual wire mode, as firmware leaves it; the task priority has no say in it."""
    handler = "inc r14; mov al, 0x20; out 0x20, al; iretq"
    code = f"{PIC}{PIT} {put(TPR, 0xFF)} sti; hlt; hlt; {put(LVT_LINT0, 0x10700)} hlt"
    with guest(code, {0x20: handler}) as made:
        outcome = made.run(timeout=0.5)
        assert outcome.by_key["HLT", ""] == 3
        assert made.vcpu.get(14) == 2
        assert outcome.why is StopWhy.TIMEOUT


def test_an_interrupt_held_off_by_cr8_comes_when_it_is_lowered() -> None:
    code = (
        f"mov eax, 4; mov cr8, rax; sti; {put(ICR, SELF | 0x41)} mov r12, r14; mov eax, 3; mov cr8, rax; mov r13, r14; "
        f"mov r11d, [rbx + {TPR}]; mov r10, cr8"
    )
    with guest(code) as made:
        outcome = made.run()
        assert outcome.status == 0xEE
        assert [made.vcpu.get(number) for number in (12, 13, 11, 10)] == [0, 1, 0x30, 3]


def test_what_is_withdrawn_wakes_nobody() -> None:
    """Requested while the flag is clear, then held off: HLT must not end for it."""
    code = f"{put(ICR, SELF | 0x41)} {put(TPR, 0x50)} sti; hlt"
    with guest(code) as made:
        outcome = made.run()
        assert (outcome.why, made.vcpu.get(14)) == (StopWhy.HALTED, 0)
        assert "nothing that could wake it" in outcome.detail


def test_a_timer_that_is_masked_wakes_nobody() -> None:
    with guest(f"{put(LVT_TIMER, 0x30041)}{put(COUNT, 1)} sti; hlt") as made:
        assert made.run().why is StopWhy.HALTED


def test_nested_interrupts_by_class() -> None:
    """A handler that lets interrupts in again is interrupted by a higher class and not by its own."""
    low = f"inc r14; sti; {put(ICR, SELF | 0x4F)}{put(ICR, SELF | 0x61)} mov r13, r14; cli; {put(EOI, 0)} iretq"
    handlers = {0x41: low, 0x4F: f"add r14, 0x100; {put(EOI, 0)} iretq", 0x61: f"add r14, 0x10; {put(EOI, 0)} iretq"}
    with guest(f"sti; {put(ICR, SELF | 0x41)} nop; mov r12, r14", handlers) as made:
        assert made.run().status == 0xEE
        assert (made.vcpu.get(13), made.vcpu.get(12)) == (0x11, 0x111)


def test_the_apic_is_offered_and_can_be_switched_off() -> None:
    code = (
        "mov eax, 1; xor ecx, ecx; push rbx; cpuid; pop rbx; mov r12, rdx; "
        "mov ecx, 0x1b; rdmsr; mov r13, rax; and eax, 0xfffff7ff; wrmsr; mov r11d, [rbx + 0x30]"
    )
    with guest(code) as made:
        assert made.run().status == 0xEE
        assert made.vcpu.get(12) >> 9 & 1 == 1
        assert (made.vcpu.get(13), made.vcpu.get(11)) == (0xFEE0_0900, 0xFFFF_FFFF)


@pytest.mark.parametrize("value", [0xFEC0_0900, 0xFEE0_0500])
def test_the_page_does_not_move_and_no_mode_is_invalid(value: int) -> None:
    with guest(f"mov ecx, 0x1b; xor edx, edx; mov eax, {value}; wrmsr") as made:
        assert made.run().status == GP


# ---- x2APIC mode: the registers as MSRs ----

EXTENDED: Final = "mov ecx, 0x1b; rdmsr; or eax, 0x400; wrmsr; "


def put_msr(register: int, value: int) -> str:
    return f"mov ecx, {0x800 + register // 16}; mov eax, {value}; xor edx, edx; wrmsr; "


MSR_HANDLER: Final = f"inc r14; push rcx; {put_msr(EOI, 0)} pop rcx; iretq"


@pytest.mark.parametrize(("register", "value"), [(0x3F0, 0x41), (ICR, SELF | 0x41)], ids=["SELF IPI", "ICR"])
def test_a_self_ipi_by_msrs_costs_two_exits_and_a_return(register: int, value: int) -> None:
    turns = 40
    code = f"{EXTENDED} sti; mov r15d, {turns}; again: {put_msr(register, value)} dec r15d; jnz again; mov r13, r14"
    with guest(code, {0x41: MSR_HANDLER}) as made:
        outcome = made.run()
        assert (outcome.status, made.vcpu.get(13)) == (0xEE, turns)
        name = "X2APIC_SELF_IPI" if register == 0x3F0 else "X2APIC_ICR"
        assert outcome.by_key == {
            ("MSR_READ", "APIC_BASE"): 1, ("MSR_WRITE", "APIC_BASE"): 1, ("MSR_WRITE", name): turns,
            ("MSR_WRITE", "X2APIC_EOI"): turns, ("IRET", ""): turns, ("INTERRUPT_FLAG", "STI"): 1,
            FILLS: outcome.by_key[FILLS], **END,
        }  # fmt: skip


def test_the_timer_by_msrs_wakes_a_guest_that_halts() -> None:
    ticks = 30
    code = (
        f"{EXTENDED}{put_msr(DIVIDE, 3)}{put_msr(LVT_TIMER, 0x20041)}{put_msr(COUNT, 1000)} sti; "
        f"again: hlt; cmp r14, {ticks}; jb again; {put_msr(LVT_TIMER, 0x10041)}"
    )
    with guest(code, {0x41: MSR_HANDLER}) as made:
        outcome = made.run()
        assert outcome.status == 0xEE
        assert outcome.exits["HLT"] == outcome.exits["IRET"] == ticks
        assert outcome.by_key["MSR_WRITE", "X2APIC_EOI"] == ticks
        assert made.vcpu.now_ns // 16_000 == ticks


def test_the_page_is_nobodys_in_x2apic_mode() -> None:
    with guest(f"{EXTENDED} {put(TPR, 0x50)} mov r12d, [rbx + {VERSION}]; mov r13, cr8") as made:
        assert made.run().status == 0xEE
        assert (made.vcpu.get(12), made.vcpu.get(13)) == (0xFFFF_FFFF, 0)


@pytest.mark.parametrize(
    "code",
    [f"{EXTENDED} mov ecx, 0x80e; rdmsr", f"{EXTENDED}{put_msr(EOI, 1)}", put_msr(TPR, 0), "mov ecx, 0x802; rdmsr"],
)
def test_what_is_no_register_faults(code: str) -> None:
    with guest(code) as made:
        assert made.run().status == GP


def test_a_storm_of_the_shortest_period_leaves_the_guest_its_turns() -> None:
    code = (
        f"{put(DIVIDE, 0xB)}{put(LVT_TIMER, 0x20041)}{put(COUNT, 1)} sti; mov ecx, 50; again: dec ecx; jnz again; cli"
    )
    with guest(code) as made:
        assert made.run(max_exits=5000).why in (StopWhy.EXITED, StopWhy.MAX_EXITS)
