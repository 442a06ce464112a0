"""Events through the IDT and TSS, through the trap table, and the ways back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pv.exits import StopWhy
from tests.pv.engines.unicorn.guests import (
    ABSENT_CODE,
    ABSENT_DATA,
    AC,
    ALWAYS,
    BEYOND,
    BOOT_STACK,
    BP,
    CODE,
    CODE_32,
    CODE_DPL1,
    CONFORMING,
    DATA,
    DB,
    DE,
    DF,
    END,
    EXCEPTION,
    FILLS,
    GDT,
    GDT_WORDS,
    GP,
    ID,
    IDT,
    IF,
    IRETQ,
    IST1,
    IST2,
    KERNEL_CS,
    KERNEL_SS,
    KERNEL_STACK,
    NM,
    NP,
    NT,
    PF,
    PV_END,
    PV_RETURN,
    RF,
    SOFTWARE,
    SS,
    STUBS,
    TF,
    TS,
    TSS,
    TSS_SELECTOR,
    UD,
    USER,
    USER_CS,
    USER_SS,
    USER_STACK,
    ParavirtGuest,
    TrapGuest,
    assemble,
    to_user,
)

Trap = Callable[..., TrapGuest]
Paravirt = Callable[..., ParavirtGuest]
TOP = BOOT_STACK


def length(text: str) -> int:
    return len(assemble(text))


@pytest.mark.parametrize(
    ("code", "vector", "error", "at"),
    [
        ("xor ecx, ecx; div ecx", DE, None, 2),
        ("int3", BP, None, 1),
        ("ud2", UD, None, 0),
        ("vmcall", UD, None, 0),
        ("vmmcall", UD, None, 0),
        ("mov eax, 0x98; mov ds, ax", GP, 0x98, 5),
        ("mov rax, 0x8000000000000000; mov al, [rax]", GP, 0, 10),
        ("mov eax, 0x55555000; mov al, [rax]", PF, 0, 5),
        ("mov eax, 0x55555000; mov [rax], al", PF, 2, 5),
        ("mov eax, 0x55555000; jmp rax", PF, None, None),
        ("mov ecx, 0x12345; rdmsr", GP, 0, 5),
        ("int 0x80", 0x80, None, 2),
    ],
)
def test_an_event_arrives_with_its_frame(
    unmodified: Trap, code: str, vector: int, error: int | None, at: int | None
) -> None:
    guest = unmodified(f"push 7; popfq; {code}")
    outcome = guest.run()
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, vector)
    if at is None:
        frame = guest.frame(error=True)
        assert (frame.error, frame.rip, guest.vcpu.virtual.cr2) == (0x10, 0x55555000, 0x55555000)
        return
    frame = guest.frame(error=error is not None)
    assert (frame.error, frame.rip) == (error, CODE + length("push 7; popfq") + at)
    assert (frame.cs, frame.rsp, frame.ss) == (KERNEL_CS, TOP, KERNEL_SS)
    if vector == PF:
        assert guest.vcpu.virtual.cr2 == 0x55555000


def test_flags_in_a_frame_show_the_virtual_if_and_iopl(trap: Trap) -> None:
    guest = trap("push 0x246; popfq; sti; stc; std; ud2")
    guest.vcpu.virtual.iopl = 2
    assert guest.run().status == UD
    flags = guest.frame().rflags
    assert flags & ~RF == 0x247 | 1 << 10 | 2 << 12
    assert flags & RF  # every fault but an instruction breakpoint's pushes RF set (SDM vol. 3, 18.3.1.1)
    assert not guest.vcpu.virtual.interrupt_flag  # an interrupt gate


@pytest.mark.parametrize(("code", "resume"), [("int3", 0), ("int 0x40", 0)])
def test_traps_push_rf_clear(unmodified: Trap, code: str, resume: int) -> None:
    guest = unmodified(f"cli; {code}")
    guest.run()
    assert guest.frame().rflags & (RF | IF) == resume


@pytest.mark.parametrize(("kind", "left"), [(14, False), (15, True)])
def test_a_trap_gate_leaves_if_an_interrupt_gate_clears_it(unmodified: Trap, kind: int, left: bool) -> None:
    guest = unmodified("sti; int 0x40")
    guest.gate(0x40, kind=kind)
    assert guest.run().status == 0x40
    assert guest.vcpu.virtual.interrupt_flag is left
    assert guest.frame().rflags & IF


def test_tf_and_nt_are_cleared_on_entry(unmodified: Trap) -> None:
    guest = unmodified(f"push {NT | AC | ID | 2}; popfq; int 0x40")
    assert guest.run().status == 0x40
    assert guest.frame().rflags & (NT | AC | ID) == NT | AC | ID
    assert guest.vcpu.rflags & (NT | AC | ID) == AC | ID


def test_single_step_traps_after_one_instruction(unmodified: Trap) -> None:
    guest = unmodified(f"push {TF | 2}; popfq; nop; nop")
    assert guest.run().status == DB
    frame = guest.frame()
    assert frame.rip == CODE + length(f"push {TF | 2}; popfq; nop")
    assert frame.rflags & TF
    assert not guest.vcpu.rflags & TF


@pytest.mark.parametrize(
    "code",
    [
        "cli",
        "sti",
        "cpuid",
        "rdtsc",
        "rdtscp",
        "wbinvd",
        "mov rax, cr0",
        "mov ds, dx",
        "in al, 0x61",
        "out 0x80, al",
        "hlt",
    ],
)
def test_single_step_traps_behind_what_the_monitor_does(unmodified: Trap, code: str) -> None:
    guest = unmodified(f"mov edx, {KERNEL_SS}; mov ecx, 0; push {TF | 2}; popfq; {code}; ud2")
    before = length(f"mov edx, {KERNEL_SS}; mov ecx, 0; push {TF | 2}; popfq")
    assert guest.run().status == DB
    frame = guest.frame()
    assert frame.rip == CODE + before + length(code)
    assert frame.rflags & TF


def test_single_step_waits_behind_a_mov_to_ss(unmodified: Trap) -> None:
    text = f"mov edx, {KERNEL_SS}; push {TF | 2}; popfq; mov ss, dx; nop"
    guest = unmodified(f"{text}; ud2")
    assert guest.run().status == DB
    assert guest.frame().rip == CODE + length(text)


def test_single_step_traps_behind_a_hypercall(paravirt: Paravirt) -> None:
    guest = paravirt(f"mov eax, 0x7000; push {TF | 2}; popfq; vmcall; ud2")
    assert guest.run().status == DB
    assert guest.frame().rip == CODE + length(f"mov eax, 0x7000; push {TF | 2}; popfq; vmcall")


def test_single_step_does_not_trap_behind_a_fault(unmodified: Trap) -> None:
    guest = unmodified(f"mov eax, {1 << 31}; push {TF | 2}; popfq; mov cr0, rax; ud2")
    assert guest.run().status == GP
    assert guest.frame(error=True).rip == CODE + length(f"mov eax, {1 << 31}; push {TF | 2}; popfq")


@pytest.mark.parametrize("rsp", [0x800000000000, 0x7FFFFFFFFFFFFFF8, 0xFFFF7FFFFFFFFFF0])
def test_iretq_from_no_canonical_stack_is_a_stack_fault(trap: Trap, rsp: int) -> None:
    guest = trap(f"mov rsp, {rsp}; iretq")
    guest.gate(SS, ist=1)
    assert guest.run().status == SS
    assert guest.frame(error=True).error == 0


@pytest.mark.parametrize("offset", range(16))
def test_the_frame_is_aligned_to_16_bytes(unmodified: Trap, offset: int) -> None:
    guest = unmodified(f"mov rsp, {TOP - offset}; ud2")
    guest.run()
    assert guest.vcpu.rsp == (TOP - offset) // 16 * 16 - 40
    assert guest.frame().rsp == TOP - offset


def test_an_error_code_makes_the_frame_longer(unmodified: Trap) -> None:
    guest = unmodified("mov eax, 0x98; mov ds, ax")
    guest.run()
    assert guest.vcpu.rsp == TOP - 48


@pytest.mark.parametrize("ist", [1, 2])
def test_ist_switches_the_stack_at_the_same_privilege(unmodified: Trap, ist: int) -> None:
    guest = unmodified("ud2")
    guest.gate(UD, ist=ist)
    guest.run()
    top = {1: IST1, 2: IST2}[ist]
    assert guest.vcpu.rsp == top - 40
    assert guest.frame() == (None, CODE, KERNEL_CS, RF | 2, TOP, KERNEL_SS)
    assert guest.vcpu.selector(2) & ~3 == KERNEL_SS  # SS stays where the privilege does


def test_from_cpl_3_the_stack_is_rsp0_and_ss_null(trap: Trap) -> None:
    guest = trap(to_user() + IRETQ, {USER: "int 0x80"})
    guest.gate(0x80, dpl=3)
    outcome = guest.run()
    assert outcome.status == 0x80
    assert guest.vcpu.rsp == KERNEL_STACK - 40
    assert guest.frame() == (None, USER + 2, USER_CS, 0x202, USER_STACK, USER_SS)
    assert guest.vcpu.selector(2) & ~3 == 0
    assert guest.vcpu.cpl == 1
    assert outcome.by_key == {("IRET", ""): 1, (SOFTWARE, "INT 0x80"): 1, FILLS: outcome.by_key[FILLS], **END}


def test_ist_wins_over_rsp0_from_cpl_3(unmodified: Trap) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: "ud2"})
    guest.gate(UD, ist=2)
    assert guest.run().status == UD
    assert guest.vcpu.rsp == IST2 - 40


def test_iretq_goes_back_to_where_the_event_came_from(trap: Trap) -> None:
    handler = "inc rbx; iretq"
    guest = trap("sti; int 0x40; int 0x40; pushfq; pop rdx; mov al, 9; out 0xf4, al", {DATA: handler})
    guest.gate(0x40, DATA)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.rbx, guest.vcpu.rsp) == (9, 2, TOP)
    assert guest.vcpu.virtual.interrupt_flag
    assert outcome.events["events delivered"] == 2
    assert {kind: n for kind, n in outcome.by_key.items() if kind != FILLS} == {
        ("INTERRUPT_FLAG", "STI"): 1, (SOFTWARE, "INT 0x40"): 2, ("IRET", ""): 2, **END,
    }  # fmt: skip


def test_an_event_within_an_event_has_the_null_ss_of_the_first(unmodified: Trap) -> None:
    guest = unmodified(
        to_user() + IRETQ, {USER: "int 0x80; ud2", DATA: "int 0x81; iretq", DATA + 64: "mov rbx, [rsp+32]; iretq"}
    )
    guest.gate(0x80, DATA, dpl=3)
    guest.gate(0x81, DATA + 64)
    assert guest.run().status == UD
    assert guest.vcpu.rbx == 0


@pytest.mark.parametrize("user", [False, True])
def test_int_to_a_gate_of_dpl_0(unmodified: Trap, user: bool) -> None:
    code = "nop; nop; int 0x41"
    guest = unmodified(to_user() + IRETQ, {USER: code}) if user else unmodified(code)
    assert guest.run().status == (GP if user else 0x41)
    if user:
        frame = guest.frame(error=True)
        assert (frame.error, frame.rip, frame.cs) == (0x41 * 8 + 2, USER + 2, USER_CS)


@pytest.mark.parametrize("before", ["nop", "mov al, 0xcd"])
def test_int3_refused_points_at_its_one_byte(unmodified: Trap, before: str) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: f"{before}; int3"})
    assert guest.run().status == GP
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip) == (BP * 8 + 2, USER + length(before))


def test_int_3_in_two_bytes_refused_points_at_its_first(unmodified: Trap) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: b"\x90\xcd\x03"})
    assert guest.run().status == GP
    assert guest.frame(error=True)[:2] == (BP * 8 + 2, USER + 1)


@pytest.mark.parametrize("technique", ["trap", "paravirt"])
def test_icebp_is_a_debug_exception_after_it(trap: Trap, paravirt: Paravirt, technique: str) -> None:
    guest = (trap if technique == "trap" else paravirt)(b"\x90\xf1\x90")
    outcome = guest.run()
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, DB)
    assert guest.frame().rip == CODE + 2
    assert outcome.by_key[EXCEPTION, "#DB"] == 1


@pytest.mark.parametrize(
    ("fields", "vector", "error"),
    [
        ({"present": False}, NP, 0x40 * 8 + 2),
        ({"kind": 12}, GP, 0x40 * 8 + 2),
        ({"kind": 5}, GP, 0x40 * 8 + 2),
        ({"kind": 0, "present": False}, GP, 0x40 * 8 + 2),
        ({"selector": 0}, GP, 0),
        ({"selector": 3}, GP, 0),
        ({"selector": BEYOND}, GP, BEYOND),
        ({"selector": KERNEL_SS}, GP, KERNEL_SS),
        ({"selector": TSS_SELECTOR}, GP, TSS_SELECTOR),
        ({"selector": ABSENT_CODE}, NP, ABSENT_CODE),
        ({"selector": CODE_32}, GP, CODE_32),
        ({"selector": USER_CS}, GP, USER_CS & ~3),
        ({"selector": CODE_DPL1}, GP, CODE_DPL1),
        ({"rip": 1 << 47}, GP, 0),
    ],
)
@pytest.mark.parametrize("ext", [0, 1])
def test_bad_gates(unmodified: Trap, fields: dict[str, int], vector: int, error: int, ext: int) -> None:
    number = UD if ext else 0x40
    guest = unmodified("nop; ud2" if ext else "nop; int 0x40")
    guest.gate(number, **fields)
    assert guest.run().status == vector
    if error == 0x40 * 8 + 2:
        error = number * 8 + 2
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip) == (error | ext, CODE + 1)


def test_a_conforming_handler_keeps_cpl_3(unmodified: Trap) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: "int 0x80", DATA: "cli"})
    guest.gate(0x80, DATA, selector=CONFORMING, dpl=3)
    assert guest.run().status == GP  # CLI at CPL 3
    frame = guest.frame(error=True)
    assert (frame.cs, frame.rip, frame.rsp) == (CONFORMING | 3, DATA, USER_STACK - 40)


def test_a_conforming_handler_may_not_push_where_cpl_3_may_not_write(unmodified: Trap) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: "int 0x80"})
    guest.gate(0x80, DATA, selector=CONFORMING, dpl=3)
    guest.protect(USER_STACK - 8, clear=4)
    guest.gate(PF, ist=1)
    assert guest.run().status == PF
    assert guest.frame(error=True).error == 7  # a write of CPL 3


def test_the_limit_of_the_idt(unmodified: Trap) -> None:
    guest = unmodified("int 0x40")
    guest.vcpu.virtual.idt_limit = 0x40 * 16 + 14
    assert guest.run().status == GP
    assert guest.frame(error=True).error == 0x40 * 8 + 2


@pytest.mark.parametrize(("limit", "status"), [(11, 0x80), (10, TS)])
def test_the_limit_of_the_tss_for_rsp0(unmodified: Trap, limit: int, status: int) -> None:
    guest = unmodified(to_user() + IRETQ, {USER: "int 0x80"})
    guest.gate(0x80, dpl=3)
    guest.gate(TS, selector=CONFORMING)  # a handler that needs no stack of the TSS
    guest.vcpu.virtual.tr_limit = limit
    guest.run()
    assert guest.vcpu.rax & 0xFF == status or status == TS
    if status == TS:
        assert guest.frame(error=True)[:2] == (TSS_SELECTOR, USER)


@pytest.mark.parametrize(("limit", "status"), [(43, UD), (42, TS)])
def test_the_limit_of_the_tss_for_ist(unmodified: Trap, limit: int, status: int) -> None:
    guest = unmodified("ud2")
    guest.gate(UD, ist=1)
    guest.vcpu.virtual.tr_limit = limit
    assert guest.run().status == status
    if status == TS:
        assert guest.frame(error=True).error == TSS_SELECTOR | 1


@pytest.mark.parametrize("rsp", [0x77777000, 0x8000_0000_1000])
def test_a_stack_that_cannot_be_pushed_on_makes_a_double_fault(unmodified: Trap, rsp: int) -> None:
    guest = unmodified(f"mov rsp, {rsp}; mov eax, 0x55555000; mov al, [rax]")
    guest.gate(DF, ist=1)
    outcome = guest.run()
    assert (outcome.status, outcome.events["double faults"]) == (DF, 1)
    frame = guest.frame(error=True)
    assert (frame.error, frame.rsp) == (0, rsp)
    assert guest.vcpu.virtual.cr2 == (rsp - 48 if rsp < 1 << 47 else 0x55555000)


@pytest.mark.parametrize(("rsp", "vector", "error"), [(0x77777000, PF, 2), (0x8000_0000_1000, SS, 1)])
def test_a_benign_event_then_a_fault_is_serial(unmodified: Trap, rsp: int, vector: int, error: int) -> None:
    guest = unmodified(f"mov rsp, {rsp}; ud2")
    for number in (PF, SS, DF):
        guest.gate(number, ist=1)
    outcome = guest.run()
    assert (outcome.status, outcome.events["double faults"]) == (vector, 0)
    assert guest.frame(error=True)[:2] == (error, CODE + length(f"mov rsp, {rsp}"))


TABLE_6_5 = [
    (UD, GP, GP), (UD, PF, PF), (GP, NP, DF), (GP, PF, PF), (DE, GP, DF), (DE, PF, PF), (PF, GP, DF), (PF, PF, DF),
    (PF, NP, DF), (NP, GP, DF), (NP, PF, PF), (0x40, GP, GP), (0x40, NP, NP), (NM, GP, GP),
]  # fmt: skip
RAISE = {
    UD: "ud2", GP: "mov ecx, 0x12345; rdmsr", DE: "xor ecx, ecx; div ecx", PF: "mov al, [0x55555000]",
    NP: f"mov eax, {ABSENT_DATA}; mov ds, ax", 0x40: "int 0x40", NM: "mov rax, cr0; or eax, 8; mov cr0, rax; fld1",
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "taken"), TABLE_6_5)
def test_table_6_5(unmodified: Trap, first: int, second: int, taken: int) -> None:
    """The first event's gate is broken so that its delivery faults with the second."""
    guest = unmodified(RAISE[first])
    broken: dict[int, dict[str, int]] = {GP: {"kind": 0}, NP: {"present": False}, PF: {"ist": 3}}
    guest.memory.write_uint(TSS + 52, 8, 0x66666000)  # the third interrupt stack is not mapped
    guest.gate(first, **broken[second])
    if first != second:
        guest.gate(second, ist=1)
    outcome = guest.run()
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, taken)
    assert outcome.events["double faults"] == (taken == DF)
    if taken == DF:
        assert guest.frame(error=True).error == 0


@pytest.mark.parametrize("code", ["ud2", "int 0x40", "mov al, [0x55555000]", "int3"])
def test_no_idt_at_all_is_a_triple_fault_with_its_record(trap: Trap, code: str) -> None:
    guest = trap(f"nop; {code}")
    guest.vcpu.virtual.idt_limit = 0
    outcome = guest.run()
    assert outcome.why is StopWhy.SHUTDOWN
    assert (outcome.status, outcome.rip, outcome.events["double faults"]) == (None, CODE + 1, 1)
    assert outcome.record[-1].rip == CODE + 1 + (length(code) if code.startswith("int") else 0)
    assert [entry.number for entry in outcome.record] == list(range(outcome.exits.total))
    assert "triple fault" in outcome.summary
    assert outcome.detail.endswith("could not be delivered, nor the faults that followed")


def test_an_idt_in_no_memory_is_a_triple_fault(trap: Trap) -> None:
    guest = trap("ud2")
    guest.vcpu.virtual.idt_base = 0x7FFF_0000
    outcome = guest.run()
    assert (outcome.why, guest.vcpu.virtual.cr2) == (StopWhy.SHUTDOWN, 0x7FFF_0000 + 16 * DF)


def test_task_switched_raises_nm_once(trap: Trap) -> None:
    guest = trap(
        "mov rax, cr0; or eax, 8; mov cr0, rax; fld1; movaps xmm0, xmm1; inc rcx; mov al, 9; out 0xf4, al",
        {DATA: "inc rbx; clts; iretq"},
    )
    guest.gate(NM, DATA)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.rbx, guest.vcpu.rcx) == (9, 1, 1)
    assert outcome.by_key[EXCEPTION, "#NM"] == 1


def test_a_guest_loads_its_own_tables(unmodified: Trap) -> None:
    guest = unmodified(
        f"mov ebx, {DATA}; lgdt [rbx]; lidt [rbx + 16]; mov eax, {TSS_SELECTOR}; ltr ax; xor eax, eax; mov es, ax;"
        f"mov eax, {KERNEL_SS}; mov ss, ax; {to_user()} iretq",
        {DATA: (len(GDT_WORDS) * 8 - 1).to_bytes(2, "little") + GDT.to_bytes(8, "little"),
         DATA + 16: b"\xff\x0f" + IDT.to_bytes(8, "little"), USER: "ud2"},
    )  # fmt: skip
    virtual = guest.vcpu.virtual
    virtual.idt_base = virtual.idt_limit = virtual.tr_base = virtual.tr_limit = 0
    assert guest.run().status == UD
    assert guest.vcpu.rsp == KERNEL_STACK - 40
    assert guest.word(GDT + TSS_SELECTOR + 5, 1) == 0x8B  # busy


# ---- SYSCALL and SYSRET ----

STAR = KERNEL_CS << 32 | 0x13 << 48  # SYSRET: SS 0x1b, CS 0x23


def with_syscall(guest: TrapGuest, lstar: int = DATA, fmask: int = IF) -> TrapGuest:
    virtual = guest.vcpu.virtual
    virtual.star, virtual.lstar, virtual.fmask = STAR, lstar, fmask
    return guest


def test_syscall_and_sysret(trap: Trap) -> None:
    user = "stc; syscall; ud2"
    guest = trap(to_user() + IRETQ, {USER: user, DATA: "mov r8, rcx; mov r9, r11; mov r10, cs; sysret"})
    # keystone's sysret is SYSRETQ's opcode without REX.W: add it
    guest.memory.write(DATA, assemble("mov r8, rcx; mov r9, r11; mov r10, cs", DATA) + b"\x48\x0f\x07")
    with_syscall(guest)
    outcome = guest.run()
    assert outcome.status == UD
    frame = guest.frame()
    assert (frame.rip, frame.cs, frame.ss, frame.rsp) == (USER + 3, USER_CS, USER_SS, USER_STACK)
    assert frame.rflags & ~RF == 0x203
    assert (guest.vcpu.r8, guest.vcpu.r9) == (USER + 3, 0x203)
    assert {kind: n for kind, n in outcome.by_key.items() if kind != FILLS} == {
        ("IRET", ""): 1, ("SYSCALL", ""): 1, ("SYSRET", ""): 1, (EXCEPTION, "#UD"): 1, **END,
    }  # fmt: skip


@pytest.mark.parametrize("fmask", [0, IF, IF | 1, 0xFFFF_FFFF])
def test_fmask_clears_flags_on_entry(trap: Trap, fmask: int) -> None:
    guest = with_syscall(trap(to_user(flags=ALWAYS | IF | 1) + IRETQ, {USER: "syscall"}), STUBS, fmask)
    guest.run()
    assert guest.vcpu.rflags == 0x203 & ~fmask | ALWAYS
    assert guest.vcpu.r11 == 0x203
    assert (guest.vcpu.cpl, guest.vcpu.rsp) == (1, USER_STACK)


@pytest.mark.parametrize("prefix", [b"\x66", b"\xf2", b"\xf3", b"\x48", b"\x2e", b"\x66\x48", b"\x3e\xf3\x4f"])
def test_syscall_with_prefixes_returns_behind_all_of_it(unmodified: Trap, prefix: bytes) -> None:
    guest = with_syscall(unmodified(to_user() + IRETQ, {USER: prefix + b"\x0f\x05"}), STUBS)
    assert guest.run().status == 0
    assert guest.vcpu.rcx == USER + len(prefix) + 2


def test_lock_syscall_is_undefined(unmodified: Trap) -> None:
    guest = with_syscall(unmodified(to_user() + IRETQ, {USER: b"\xf0\x0f\x05"}), STUBS)
    assert guest.run().status == UD
    assert guest.frame().rip == USER


def test_syscall_without_sce_is_undefined(unmodified: Trap) -> None:
    guest = with_syscall(unmodified(to_user() + IRETQ, {USER: "nop; syscall"}))
    guest.vcpu.virtual.efer &= ~1
    assert guest.run().status == UD
    assert guest.frame().rip == USER + 1


def test_syscall_of_the_kernel_itself_enters_too(unmodified: Trap) -> None:
    guest = with_syscall(unmodified("syscall"), STUBS)
    assert guest.run().status == 0
    assert guest.vcpu.rcx == CODE + 2


@pytest.mark.parametrize(
    ("setup", "vector"),
    [("mov rcx, 0x800000000000", GP), ("mov ecx, 0xc0000080; mov eax, 0xd00; xor edx, edx; wrmsr", UD)],
)
def test_sysret_refused(trap: Trap, setup: str, vector: int) -> None:
    code = assemble(setup) + b"\x48\x0f\x07"
    guest = with_syscall(trap(code))
    assert guest.run().status == vector
    frame = guest.frame(error=vector == GP)
    assert (frame.rip, frame.cs, frame.error) == (CODE + len(code) - 3, KERNEL_CS, 0 if vector == GP else None)


def test_sysret_to_compatibility_mode_is_not_offered(trap: Trap) -> None:
    guest = with_syscall(trap(b"\x0f\x07"))
    assert guest.run().status == GP
    assert guest.frame(error=True)[:2] == (0, CODE)


def test_sysret_at_cpl_3_is_the_guests_fault(unmodified: Trap) -> None:
    guest = with_syscall(unmodified(to_user() + IRETQ, {USER: b"\x48\x0f\x07"}))
    assert guest.run().status == GP
    assert guest.frame(error=True)[:3] == (0, USER, USER_CS)


def test_sysret_restores_the_flags_that_r11_may_set(unmodified: Trap) -> None:
    code = assemble(f"mov ecx, {USER}; mov r11, 0xffffffffffffffff") + b"\x48\x0f\x07"
    guest = with_syscall(unmodified(code, {USER: "int 0x40"}))
    guest.gate(0x40, dpl=3)
    guest.gate(DB, DATA + 0x100)  # TF is among them: the first step ends up there
    guest.memory.write(DATA + 0x100, assemble("mov al, 1; out 0xf4, al"))
    assert guest.run().status in (DB, 0x40)
    assert guest.frame().rflags & 0x3C7FD7 == 0x3C7FD7 & ~(3 << 19)  # VIF and VIP do not exist beneath


# ---- the paravirtual ways ----


def test_a_trap_table_entry_at_the_kernels_own_level(paravirt: Paravirt) -> None:
    guest = paravirt("stc; ud2")
    outcome = guest.run()
    assert outcome.status == UD
    assert guest.frame() == (None, CODE + 1, 0x09, 0x003, BOOT_STACK, 0x11)
    assert outcome.by_key == {(EXCEPTION, "#UD"): 1, **PV_END}


def test_a_trap_from_user_mode_starts_on_the_kernel_stack(paravirt: Paravirt) -> None:
    guest = paravirt(to_user() + PV_RETURN, {USER: "mov al, [0x55555000]"})
    outcome = guest.run()
    assert outcome.status == PF
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip, frame.cs, frame.rsp, frame.ss) == (4, USER, USER_CS, USER_STACK, USER_SS)
    assert guest.vcpu.rsp == KERNEL_STACK - 48
    assert guest.vcpu.virtual.cr2 == 0x55555000
    assert outcome.by_key == {("VMCALL", "return_from_event"): 1, (EXCEPTION, "#PF"): 1, **PV_END}


@pytest.mark.parametrize(("flags", "user", "status"), [(4, True, GP), (7, True, 0x80), (4, False, 0x80), (5, True, GP)])
def test_int_n_and_the_privilege_of_its_entry(paravirt: Paravirt, flags: int, user: bool, status: int) -> None:
    guest = paravirt(to_user() + PV_RETURN, {USER: "nop; int 0x80"}) if user else paravirt("nop; int 0x80")
    guest.trap(0x80, flags=flags)
    assert guest.run().status == status
    at = (USER if user else CODE) + (1 if status == GP else 3)
    assert guest.frame(error=status == GP)[:2] == (0x80 * 8 + 2 if status == GP else None, at)


@pytest.mark.parametrize(("flags", "left"), [(4, 0), (0, IF)])
def test_bit_2_of_an_entry_masks_upcalls(paravirt: Paravirt, flags: int, left: int) -> None:
    guest = paravirt("ud2")
    guest.vcpu.virtual.interrupt_flag = True
    guest.trap(UD, flags=flags)
    guest.run()
    assert guest.vcpu.rflags & IF == left
    assert guest.frame().rflags & IF


def test_a_vector_without_an_entry_becomes_gp_then_a_double_fault_then_the_end(paravirt: Paravirt) -> None:
    guest = paravirt("ud2")
    guest.trap(UD, rip=0)
    assert guest.run().status == GP
    assert guest.frame(error=True)[:2] == (UD * 8 + 2, CODE)

    guest = paravirt("ud2")
    guest.trap(UD, rip=0)
    guest.trap(GP, rip=0)
    outcome = guest.run()
    assert (outcome.status, outcome.events["double faults"]) == (DF, 1)

    guest = paravirt("ud2")
    for vector in (UD, GP, DF):
        guest.trap(vector, rip=0)
    outcome = guest.run()
    assert (outcome.why, outcome.rip) == (StopWhy.SHUTDOWN, CODE)
    assert [entry.rip for entry in outcome.record] == [CODE]


def test_no_kernel_stack_is_the_end_of_the_guest(paravirt: Paravirt) -> None:
    guest = paravirt(to_user() + PV_RETURN, {USER: "ud2"})
    guest.vcpu.set_kernel_stack(0x66666000)
    outcome = guest.run()
    assert (outcome.why, outcome.events["double faults"]) == (StopWhy.SHUTDOWN, 1)
    assert guest.vcpu.cpl == 3


def test_a_paravirtual_system_call_and_back(paravirt: Paravirt) -> None:
    entry = "mov r8, rcx; mov r9, r11; mov r15, rsp; " + PV_RETURN
    guest = paravirt(to_user() + PV_RETURN, {USER: "stc; syscall; ud2", DATA: entry})
    guest.vcpu.set_syscall_entry(DATA)
    outcome = guest.run()
    assert outcome.status == UD
    assert (guest.vcpu.r8, guest.vcpu.r9, guest.vcpu.r15) == (USER + 3, 0x203, KERNEL_STACK - 40)
    assert guest.frame() == (None, USER + 3, USER_CS, 0x203, USER_STACK, USER_SS)
    assert outcome.by_key == {
        ("VMCALL", "return_from_event"): 2, ("SYSCALL", ""): 1, (EXCEPTION, "#UD"): 1, **PV_END,
    }  # fmt: skip


@pytest.mark.parametrize("user", [False, True])
def test_a_paravirtual_system_call_without_an_entry_or_from_the_kernel_is_undefined(
    paravirt: Paravirt, user: bool
) -> None:
    guest = paravirt(to_user() + PV_RETURN, {USER: "syscall"}) if user else paravirt("syscall")
    if not user:
        guest.vcpu.set_syscall_entry(DATA)
    assert guest.run().status == UD
    assert guest.frame().rip == (USER if user else CODE)


@pytest.mark.parametrize(
    ("cs", "ss", "rip", "error"),
    [(0x08, USER_SS, USER, 0x08), (USER_CS, 0x11, USER, 0x20), (0x09, USER_SS, USER, 0x08), (0x1B, USER_SS, USER, 0x18),
     (USER_CS, USER_SS, 1 << 47, 0), (0, 0, USER, 0)],
)  # fmt: skip
def test_return_from_event_to_nowhere(paravirt: Paravirt, cs: int, ss: int, rip: int, error: int) -> None:
    code = to_user(rip=rip, cs=cs, ss=ss) + PV_RETURN
    guest = paravirt(code)
    assert guest.run().status == GP
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip, frame.cs) == (error, CODE + length(code) - 3, 0x09)


def test_return_from_event_on_no_stack_is_a_page_fault_at_the_call(paravirt: Paravirt) -> None:
    guest = paravirt("mov eax, 0x1044; mov rsp, 0x55555000; vmcall")
    guest.trap(PF, DATA)
    guest.memory.write(DATA, assemble(f"mov rsp, {KERNEL_STACK}; " + ParavirtGuest.stub(PF), DATA))
    outcome = guest.run()
    assert outcome.why is StopWhy.SHUTDOWN  # the event itself finds no stack either
    assert outcome.events["double faults"] == 1


@pytest.mark.parametrize("code", ["cli", "hlt", "mov rax, cr3", "mov cr3, rax", "lgdt [rax]", "invlpg [rax]", "wbinvd"])
@pytest.mark.parametrize("user", [False, True])
def test_a_privileged_instruction_is_gp_under_paravirt(paravirt: Paravirt, code: str, user: bool) -> None:
    guest = paravirt(to_user() + PV_RETURN, {USER: code}) if user else paravirt(code)
    outcome = guest.run()
    assert outcome.status == GP
    assert guest.frame(error=True)[:2] == (0, USER if user else CODE)
    assert outcome.exits["EXCEPTION_NMI"] == 1


@pytest.mark.parametrize(
    "code",
    ["cli", "sti", "hlt", "mov rax, cr0", "mov cr3, rax", "mov rax, dr7", "rdmsr", "wrmsr", "lgdt [rax]", "lidt [rax]",
     "lldt ax", "ltr ax", "invlpg [rax]", "wbinvd", "invd", "clts", "lmsw ax", "swapgs"],
)  # fmt: skip
def test_a_privileged_instruction_at_cpl_3_is_the_kernels_gp(trap: Trap, code: str) -> None:
    guest = trap(to_user() + IRETQ, {USER: code})
    before = guest.vcpu.virtual.cr3
    outcome = guest.run()
    assert outcome.status == GP
    assert guest.frame(error=True)[:3] == (0, USER, USER_CS)
    assert guest.vcpu.virtual.cr3 == before
    assert {kind: n for kind, n in outcome.by_key.items() if kind != FILLS} == {
        ("IRET", ""): 1, (EXCEPTION, "#GP"): 1, **END,
    }  # fmt: skip
