"""What follows an exit: its answer, interrupts and their shadow, sleep, virtual time, budgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pv.dispatch import Row, Shape
from pv.exits import AGAIN, NEXT, WAIT, GuestError, Reason, Reply, ReplyKind, StopWhy, stop
from tests.pv.engines.unicorn.guests import (
    CODE,
    DATA,
    END,
    EXCEPTION,
    FILLS,
    IRETQ,
    KERNEL_SS,
    NP,
    PV_END,
    PV_RETURN,
    SOFTWARE,
    UD,
    USER,
    USER_CS,
    Interrupts,
    ParavirtGuest,
    Ports,
    TrapGuest,
    assemble,
    to_user,
)

Trap = Callable[..., TrapGuest]
Paravirt = Callable[..., ParavirtGuest]
END_9 = "mov al, 9; out 0xf4, al"
ENOSYS, EPERM, EINVAL = -38, -1, -22


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


# ---- interrupts and the shadow of STI ----

HANDLER = "inc r14; mov r9, [rsp]; mov r10, rcx; iretq"


def pending_at_start(guest: TrapGuest, count: int = 1) -> Interrupts:
    guest.gate(0x20, DATA)
    guest.gate(0x21, DATA)
    interrupts = Interrupts(guest)
    for _ in range(count):
        interrupts.raise_()
    return interrupts


@pytest.mark.parametrize(
    "behind",
    ["inc rcx", "mov rcx, cr2", "in al, 0x10", "out 0x10, al", "cpuid", "rdtsc", "swapgs",
                                    "mov fs, dx", "int 0x41", "mov rcx, [rsp - 0x300000]"])  # fmt: skip
def test_sti_holds_an_interrupt_off_for_exactly_one_instruction(unmodified: Trap, behind: str) -> None:
    guest = unmodified(
        f"cli; mov edx, {KERNEL_SS}; mov rsp, 0x3f0000; sti; {behind}; inc r8; {END_9}",
        {DATA: HANDLER, DATA + 64: "iretq"},
    )
    guest.gate(0x41, DATA + 64)
    Ports(guest)
    pending_at_start(guest)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.r14, outcome.events["interrupts delivered"]) == (9, 1, 1)
    before = f"cli; mov edx, {KERNEL_SS}; mov rsp, 0x3f0000; sti; "
    expected = CODE + len(assemble(before + behind)) if behind != "int 0x41" else DATA + 64 + 2
    if behind == "int 0x41":  # an interrupt gate: IRETQ sets IF again, and has no shadow
        expected = CODE + len(assemble(before + behind))
    assert guest.vcpu.r9 == expected


def test_sti_while_the_flag_is_set_has_no_shadow(unmodified: Trap) -> None:
    guest = unmodified(f"sti; out 0x10, al; sti; inc rcx; {END_9}", {DATA: HANDLER})
    ports = Ports(guest)
    interrupts = pending_at_start(guest, 0)
    ports.on_write = lambda _port, _size: interrupts.raise_()
    guest.run()
    assert guest.vcpu.r9 == CODE + len(assemble("sti; out 0x10, al"))


def test_sti_cli_never_lets_one_in(trap: Trap) -> None:
    guest = trap(f"mov ecx, 200; again: sti; cli; dec ecx; jnz again; {END_9}", {DATA: HANDLER})
    interrupts = pending_at_start(guest)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.r14, interrupts.pending) == (9, 0, [0x20])
    assert outcome.events["interrupts delivered"] == 0
    assert {kind: n for kind, n in outcome.by_key.items() if kind != FILLS} == {
        ("INTERRUPT_FLAG", "STI"): 200, ("INTERRUPT_FLAG", "CLI"): 200, **END,
    }  # fmt: skip


def test_sti_hlt_wakes_behind_the_hlt(unmodified: Trap) -> None:
    guest = unmodified(f"cli; sti; hlt; inc rcx; {END_9}", {DATA: HANDLER})
    pending_at_start(guest)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.r14, guest.vcpu.r9) == (9, 1, CODE + 3)


def test_a_timer_that_falls_due_at_the_sti_itself_still_waits_for_the_hlt(unmodified: Trap) -> None:
    """Else the interrupt is taken between STI and HLT, and HLT sleeps for ever."""
    for due in range(40):
        guest = unmodified(f"cli; cli; cli; cli; sti; hlt; {END_9}", {DATA: HANDLER})
        interrupts = pending_at_start(guest, 0)
        guest.machine.clock.at(due * 250, interrupts.raise_)
        outcome = guest.run()
        assert (outcome.why, outcome.status, guest.vcpu.r9) == (StopWhy.EXITED, 9, CODE + 6), due


def test_mov_ss_holds_interrupts_off_and_lss_does_not(trap: Trap) -> None:
    for load, extra in ((assemble("mov ss, dx"), 7), (b"\x0f\xb2\x23", 0)):
        setup = assemble(f"mov edx, {KERNEL_SS}; mov ebx, {DATA + 64}; sti", CODE)
        guest = trap(setup + load + assemble(f"mov rsp, 0x9000; inc rcx; {END_9}"),
                     {DATA: HANDLER, DATA + 64: b"\0\x88\0\0" + KERNEL_SS.to_bytes(2, "little")})  # fmt: skip
        interrupts = pending_at_start(guest, 0)
        rows = {row.first: row for row in guest.machine.table if row.reason is Reason.SEGMENT_LOAD}

        def loads(exit: Any, inner: Any = rows[2].handler, source: Interrupts = interrupts) -> Any:
            source.raise_()
            return inner(exit)

        guest.answer(
            *(
                Row(Reason.SEGMENT_LOAD, key, key, loads if key == 2 else row.handler, "test")
                for key, row in rows.items()
            )
        )
        assert guest.run().status == 9
        assert guest.vcpu.r9 == CODE + len(setup) + len(load) + extra


def test_an_interrupt_waits_while_if_is_clear(unmodified: Trap) -> None:
    guest = unmodified(
        f"cli; out 0x10, al; mov ecx, 50; again: cpuid; mov ecx, 3; dec r8; inc r8; sti; nop; {END_9}", {DATA: HANDLER}
    )
    ports = Ports(guest)
    interrupts = pending_at_start(guest, 0)
    ports.on_write = lambda _port, _size: interrupts.raise_()
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.r14) == (9, 1)
    assert guest.vcpu.r9 == CODE + len(
        assemble("cli; out 0x10, al; mov ecx, 50; again: cpuid; mov ecx, 3; dec r8; inc r8; sti; nop")
    )


def test_iretq_that_sets_if_lets_a_waiting_one_in_at_once(unmodified: Trap) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: "inc rcx; int 0x80", DATA: HANDLER})
    guest.gate(0x80, dpl=3)
    pending_at_start(guest)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.r9, guest.vcpu.r10 & 0xFF) == (0x80, USER, guest.vcpu.rcx - 1 & 0xFF)


def test_two_interrupts_nest_as_their_handlers_allow(unmodified: Trap) -> None:
    guest = unmodified(
        f"sti; out 0x10, al; {END_9}",
        {DATA: "inc rbx; sti; nop; nop; iretq", DATA + 64: "mov r12, rbx; mov r13, [rsp]; inc rbx; iretq"},
    )
    ports = Ports(guest)
    interrupts = pending_at_start(guest, 0)
    guest.gate(0x21, DATA + 64)

    def both(_port: int, _size: int) -> None:
        interrupts.raise_(0x20)
        interrupts.pending.append(0x21)

    ports.on_write = both
    acknowledge = interrupts.acknowledge

    def again() -> int:
        vector = acknowledge()
        if interrupts.pending:
            guest.vcpu.request_interrupt()
        return vector

    guest.vcpu.set_interrupt_source(again)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.rbx, guest.vcpu.r12) == (9, 2, 1)
    assert guest.vcpu.r13 == DATA + len(assemble("inc rbx; sti; nop"))


# ---- the chips of a PC ----

PIC = """mov al, 0x11; out 0x20, al; out 0xa0, al; mov al, 0x20; out 0x21, al; mov al, 0x28; out 0xa1, al;
mov al, 4; out 0x21, al; mov al, 2; out 0xa1, al; mov al, 1; out 0x21, al; out 0xa1, al; """
ALL_MASKED = "mov al, 0xff; out 0x21, al; out 0xa1, al; "
TIMER_ONLY = "mov al, 0xfe; out 0x21, al; mov al, 0xff; out 0xa1, al; "
EOI = "mov al, 0x20; out 0x20, al; "


def pit(mode: int, count: int) -> str:
    low, high = count & 0xFF, count >> 8
    return f"mov al, {0x30 | mode << 1}; out 0x43, al; mov al, {low}; out 0x40, al; mov al, {high}; out 0x40, al; "


def test_a_one_shot_timer_wakes_hlt_and_time_jumps_to_it(unmodified: Trap) -> None:
    guest = unmodified(PIC + TIMER_ONLY + pit(0, 0xFFFF) + f"sti; hlt; {END_9}", {DATA: f"inc rbx; {EOI} iretq"})
    guest.gate(0x20, DATA)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.rbx) == (9, 1)
    assert 54_925_000 < guest.vcpu.now_ns < 55_000_000  # 65,535 ticks of 1.193182 MHz
    assert outcome.exits["HLT"] == 1


def test_a_periodic_timer_needs_its_eoi(unmodified: Trap) -> None:
    for eoi, ticks in ((EOI, 5), ("", 1)):
        guest = unmodified(PIC + TIMER_ONLY + pit(2, 1000) + f"sti; again: hlt; cmp ebx, 5; jb again; {END_9}",
                     {DATA: f"inc ebx; {eoi} iretq"})  # fmt: skip
        guest.gate(0x20, DATA)
        outcome = guest.run(max_exits=300, timeout=20 if eoi else 0.5)
        assert guest.vcpu.rbx == ticks
        assert outcome.why is (StopWhy.EXITED if eoi else StopWhy.TIMEOUT)
        assert outcome.events["interrupts delivered"] == ticks


def test_a_guest_that_looks_at_memory_gets_its_timer(unmodified: Trap) -> None:
    guest = unmodified(PIC + TIMER_ONLY + pit(2, 1000) + f"sti; again: cmp dword ptr [r14], 3; jb again; {END_9}",
                 {DATA: f"inc dword ptr [r14]; {EOI} iretq"})  # fmt: skip
    guest.vcpu.r14 = DATA + 0x800
    guest.gate(0x20, DATA)
    assert guest.run().status == 9


def test_hlt_with_interrupts_off_or_nothing_to_come_is_the_end(unmodified: Trap) -> None:
    outcome = unmodified("cli; hlt").run()
    assert (outcome.why, outcome.detail, outcome.rip) == (StopWhy.HALTED, "halted with interrupts off", CODE + 2)
    outcome = unmodified("sti; hlt").run()
    assert (outcome.why, outcome.detail) == (StopWhy.HALTED, "halted with nothing that could wake it")


def test_hlt_at_the_mercy_of_a_masked_timer_obeys_the_timeout(unmodified: Trap) -> None:
    guest = unmodified(PIC + ALL_MASKED + pit(2, 1000) + f"sti; hlt; {END_9}")
    guest.gate(0x20, DATA)
    outcome = guest.run(timeout=0.2)
    assert outcome.why is StopWhy.TIMEOUT
    again = guest.run(timeout=0.05)
    assert again.why is StopWhy.TIMEOUT
    assert again.exits == outcome.exits


def test_an_interrupt_goes_through_its_gate_like_any_event(unmodified: Trap) -> None:
    guest = unmodified("sti; out 0x10, al; nop")
    ports, interrupts = Ports(guest), Interrupts(guest)
    ports.on_write = lambda _port, _size: interrupts.raise_(0x99)
    guest.gate(0x99, present=False)
    assert guest.run().status == NP
    assert guest.frame(error=True)[:2] == (0x99 * 8 + 3, CODE + 3)  # EXT is set


# ---- hypercalls ----


def vmcall(number: int, code: str = "vmcall") -> str:
    return f"mov rax, {number}; {code}; "


def with_calls(guest: ParavirtGuest, *rows: Row) -> ParavirtGuest:
    ends = [row for row in guest.machine.table if row.reason is Reason.VMCALL and row.first in (0x1003, 0x1044)]
    guest.answer(*ends, *rows)
    return guest


def call_row(handler: Callable[..., Any], number: int = 0x8000, bits: tuple[int, ...] = (), user: bool = False) -> Row:
    return Row(Reason.VMCALL, number, number, handler, "test", "", Shape.CALL, bits, user)


@pytest.mark.parametrize("code", ["vmcall", "vmmcall"])
def test_a_hypercall_by_either_instruction(paravirt: Paravirt, code: str) -> None:
    guest = with_calls(
        paravirt(
            "mov edi, 1; mov esi, 2; mov edx, 3; mov r10d, 4; mov r8d, 5; mov r9d, 6; mov ecx, 7; mov r11d, 8; "
            f"{vmcall(0x8000, code)} ud2"
        ),
        call_row(lambda *a: sum(value * 10**at for at, value in enumerate(a)), bits=(64,) * 6),
    )
    outcome = guest.run()
    assert outcome.status == UD
    assert guest.vcpu.rcx == 7
    assert guest.vcpu.r11 == 8
    record = guest.vcpu.flight_record()
    assert record[-2].registers[0] == 654321
    assert outcome.by_key == {("VMCALL", "call 0x8000"): 1, (EXCEPTION, "#UD"): 1, **PV_END}
    assert guest.vcpu.calls() == {0x8000: 1, 0x1003: 1}


@pytest.mark.parametrize(
    ("number", "counted"),
    [(0x7777, 0x7777), (0x8000_0000, 0xFFFF_FFFF), (0x1_0000_8000, 0xFFFF_FFFF), ((1 << 64) - 1, 0xFFFF_FFFF),
     (0x7FFF_FFFF, 0x7FFF_FFFF)],
)  # fmt: skip
def test_an_unknown_number_is_enosys(paravirt: Paravirt, number: int, counted: int) -> None:
    guest = with_calls(paravirt(vmcall(number) + "mov r15, rax; ud2"), call_row(lambda: 0))
    assert guest.run().status == UD
    assert signed(guest.vcpu.r15) == ENOSYS
    assert guest.vcpu.counters()[Reason.VMCALL, counted] == 1


@pytest.mark.parametrize(("allowed", "answer"), [(False, EPERM), (True, 77)])
def test_a_call_from_cpl_3(paravirt: Paravirt, allowed: bool, answer: int) -> None:
    guest = paravirt(to_user() + PV_RETURN, {USER: vmcall(0x8000) + "mov r15, rax; ud2"})
    asked: list[int] = []

    def handler() -> int:
        asked.append(1)
        return 77

    with_calls(guest, call_row(handler, user=allowed))
    assert guest.run().status == UD
    assert (signed(guest.vcpu.r15), len(asked)) == (answer, int(allowed))
    assert guest.frame().cs == USER_CS


@pytest.mark.parametrize(
    ("bits", "value", "answer"),
    [(32, 1 << 32, EINVAL), (32, (1 << 32) - 1, 0), (8, 256, EINVAL), (64, (1 << 64) - 1, 0)],
)
def test_an_argument_that_is_too_wide(paravirt: Paravirt, bits: int, value: int, answer: int) -> None:
    guest = with_calls(
        paravirt(f"mov rsi, {value}; {vmcall(0x8000)} mov r15, rax; ud2"), call_row(lambda _a, _b: 0, bits=(64, bits))
    )
    guest.run()
    assert signed(guest.vcpu.r15) == answer


def test_a_guest_error_is_a_negated_errno(paravirt: Paravirt) -> None:
    def refuse() -> int:
        raise GuestError(14, "no such place")

    guest = with_calls(paravirt(vmcall(0x8000) + "mov r15, rax; ud2"), call_row(refuse))
    guest.run()
    assert signed(guest.vcpu.r15) == -14


@pytest.mark.parametrize("number", [-4095, 0, (1 << 63) - 1])
def test_results_that_fit(paravirt: Paravirt, number: int) -> None:
    guest = with_calls(paravirt(vmcall(0x8000) + "mov r15, rax; ud2"), call_row(lambda: number))
    guest.run()
    assert signed(guest.vcpu.r15) == number


@pytest.mark.parametrize(
    ("nonsense", "error", "words"),
    [(None, TypeError, "neither int nor Reply"), ("text", TypeError, "neither int nor Reply"), (True, TypeError, "int"),
     (1 << 63, ValueError, "not in"), (-4096, ValueError, "not in"), (1.5, TypeError, "neither")],
)  # fmt: skip
def test_a_handler_that_returns_nonsense_is_our_error(
    paravirt: Paravirt, nonsense: object, error: type[Exception], words: str
) -> None:
    answers = [nonsense, 5]
    guest = with_calls(paravirt(vmcall(0x8000) + "mov r15, rax; ud2"), call_row(lambda: answers.pop(0)))
    with pytest.raises(error, match=rf"^hypercall 0x8000 \(.*<lambda>\) answered .*{words}"):
        guest.run()
    assert guest.vcpu.rip == CODE + len(assemble("mov rax, 0x8000"))
    assert guest.run().status == UD  # the call is made again
    assert guest.vcpu.r15 == 5


def test_an_exit_handler_that_answers_no_reply_is_our_error(unmodified: Trap) -> None:
    guest = unmodified("hlt")
    guest.answer(Row(Reason.HLT, 0, 0, lambda _exit: 5, "test"))
    with pytest.raises(TypeError, match="answered 5, which is not a Reply"):
        guest.run()


def test_a_handlers_exception_has_its_own_traceback_and_the_guest_goes_on(paravirt: Paravirt) -> None:
    failures = [ZeroDivisionError("ours"), KeyError("ours too")]

    def deep() -> int:
        if failures:
            raise failures.pop(0)
        return 3

    def handler() -> int:
        return deep()

    guest = with_calls(paravirt(vmcall(0x8000) + "mov r15, rax; ud2"), call_row(handler))
    with pytest.raises(ZeroDivisionError) as first:
        guest.run()
    assert [entry.name for entry in first.traceback][-2:] == ["handler", "deep"]
    with pytest.raises(KeyError):
        guest.run()
    assert guest.run().status == UD
    assert guest.vcpu.r15 == 3
    assert guest.vcpu.counters()[Reason.VMCALL, 0x8000] == 3


def test_a_handler_that_runs_its_machine_is_refused(paravirt: Paravirt) -> None:
    guest = paravirt(vmcall(0x8000) + "mov r15, rax; ud2")
    refused: list[str] = []

    def nest(run: Callable[[], object]) -> int:
        try:
            run()
        except RuntimeError as error:
            refused.append(str(error))
        return 1

    runs = [guest.machine.run, lambda: guest.vcpu.run(0, 0), guest.vcpu.close, guest.machine.close]
    with_calls(guest, call_row(lambda: sum(nest(run) for run in runs)))
    assert guest.run().status == UD
    assert guest.vcpu.r15 == 4
    assert ["running" in line or "runs already" in line for line in refused] == [True] * 4


def test_replies_of_a_call(paravirt: Paravirt) -> None:
    answers = [AGAIN, AGAIN, NEXT, stop(6)]
    guest = with_calls(paravirt(vmcall(0x8000) + "vmcall; ud2"), call_row(lambda: answers.pop(0)))
    outcome = guest.run()
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 6)
    assert outcome.calls == {"0x8000": 4}
    assert guest.vcpu.rip == CODE + len(assemble(vmcall(0x8000) + "vmcall"))


def test_a_paravirtual_guest_that_waits(paravirt: Paravirt) -> None:
    guest = with_calls(paravirt(vmcall(0x8000) + "ud2"), call_row(lambda: WAIT))
    guest.machine.clock.at(5_000_000, guest.vcpu.request_interrupt)
    assert guest.run().status == UD
    assert guest.vcpu.now_ns >= 5_000_000

    guest = with_calls(paravirt(vmcall(0x8000)), call_row(lambda: WAIT))
    assert guest.run().why is StopWhy.HALTED


def test_nobody_answers(unmodified: Trap) -> None:
    guest = unmodified("nop; cpuid")
    guest.vcpu.bind([row for row in guest.machine.table if row.reason is not Reason.CPUID])
    outcome = guest.run()
    assert (outcome.why, outcome.rip) == (StopWhy.UNHANDLED, CODE + 1)
    assert "nothing answers exit reason 0xa, key 0" in outcome.detail
    assert outcome.record[-1].code.startswith(b"\x0f\xa2")


@pytest.mark.parametrize("slice_ns", [20_000, 5_000_000])
def test_an_upcall_let_in_by_a_store_comes_at_the_next_exit(paravirt: Paravirt, slice_ns: int) -> None:
    """Wherever slices end: not between the store and the look at what is pending, as guests do it."""
    turns = 2000
    guest = paravirt(
        f"mov r12d, {turns}; again: mov byte ptr [{DATA}], 0; {vmcall(0x8000)} mov byte ptr [{DATA}], 1;"
        f"mov ecx, 300; wait: dec ecx; jnz wait; add r13, r14; add r15, 1; {vmcall(0x8001)}"
        "sub r14, 1; dec r12d; jnz again; ud2",
        {DATA + 0x800: f"add r14, 1; {PV_RETURN}"},
    )
    guest.vcpu.set_event_page(DATA, DATA + 0x800)
    interrupts = Interrupts(guest)

    def send() -> int:
        interrupts.raise_()
        return 0

    with_calls(guest, call_row(send), call_row(lambda: 0, 0x8001))
    guest.vcpu.set_slice(slice_ns)
    outcome = guest.run()
    assert outcome.status == UD
    assert outcome.events["interrupts delivered"] == guest.vcpu.r15 == turns
    assert guest.vcpu.r13 == 0


# ---- budgets, counts ----


def test_the_exit_budget_is_exact(paravirt: Paravirt) -> None:
    guest = with_calls(paravirt(f"again: {vmcall(0x8000)} jmp again"), call_row(lambda: 0))
    for total in (1, 8, 1008):
        outcome = guest.run(max_exits=total - sum(guest.vcpu.counters().values()))
        assert (outcome.why, outcome.exits) == (StopWhy.MAX_EXITS, {"VMCALL": total})


@pytest.mark.parametrize(
    ("code", "kind"),
    [("again: cli; jmp again", ("INTERRUPT_FLAG", "CLI")), ("again: cpuid; jmp again", ("CPUID", "leaf 0x0")),
     ("again: in al, 0x77; jmp again", ("IO_INSTRUCTION", "port 0x77 read")),
     ("again: int 0x40; jmp again", (SOFTWARE, "INT 0x40"))],
)  # fmt: skip
def test_the_exit_budget_of_a_trap_guest(trap: Trap, code: str, kind: tuple[str, str]) -> None:
    guest = trap("xor eax, eax; " + code, {DATA: "iretq"})
    guest.gate(0x40, DATA)
    guest.run(max_exits=5)
    first = guest.machine.outcome
    assert first is not None
    outcome = guest.run(max_exits=100)
    assert (outcome.why, outcome.exits.total) == (StopWhy.MAX_EXITS, 105)
    assert outcome.by_key[kind] >= 50


def test_the_same_guest_counts_the_same(trap: Trap) -> None:
    code = (
        PIC
        + TIMER_ONLY
        + pit(2, 5000)
        + f"sti; mov ecx, 50; again: hlt; mov eax, 1; push rcx; cpuid; pop rcx; dec ecx; jnz again; {END_9}"
    )
    counts = []
    for _ in range(3):
        guest = trap(code, {DATA: f"push rax; {EOI} pop rax; iretq"})
        guest.gate(0x20, DATA)
        outcome = guest.run()
        counts.append((outcome.by_key, outcome.events, guest.vcpu.now_ns))
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][0] == {
        ("IO_INSTRUCTION", "port 0x20 write"): 51, ("IO_INSTRUCTION", "port 0x21 write"): 4,
        ("IO_INSTRUCTION", "port 0xa0 write"): 1, ("IO_INSTRUCTION", "port 0xa1 write"): 4,
        ("IO_INSTRUCTION", "port 0x43 write"): 1, ("IO_INSTRUCTION", "port 0x40 write"): 2, **END,
        ("INTERRUPT_FLAG", "STI"): 1, ("HLT", ""): 50, ("CPUID", "leaf 0x1"): 50, ("IRET", ""): 50,
        FILLS: 3,
    }  # fmt: skip
    assert counts[0][1] == {
        "events delivered": 50, "interrupts delivered": 50, "double faults": 0, "ring held": 0, "shadow fills": 3,
        "guest page faults": 0, "page-table writes": 0, "shadow syncs": 0, "shadow drops": 0, "address-space loads": 1,
        "address-space hits": 0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", [ReplyKind.NEXT, ReplyKind.AGAIN])
def test_a_reply_made_by_hand_is_the_ready_made_one(paravirt: Paravirt, kind: ReplyKind) -> None:
    """AGAIN does not move RIP: the guest asks until the handler says NEXT."""
    asked = []

    def handle(exit: Any) -> Reply:
        asked.append(exit.rip)
        return Reply(kind if len(asked) < 3 else ReplyKind.NEXT)

    guest = paravirt("mov eax, 5; cpuid; nop; ud2")
    guest.answer(Row(Reason.CPUID, 5, 5, handle, "test"))
    guest.run()
    assert len(asked) == (3 if kind is ReplyKind.AGAIN else 1)
    assert len(set(asked)) == 1
