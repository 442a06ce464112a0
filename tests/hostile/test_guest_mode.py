"""Hostile kernels in guest mode: code segments with a base, prefixes, stale pages, stacks on code and on devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from keystone import KS_ARCH_X86, KS_MODE_32, Ks

from pv.exits import Reason, StopWhy
from pv.machine import Machine
from pv.outcome import Outcome
from pv.snapshot import Snapshot, SnapshotError
from tests.pv.engines.unicorn.guests import (
    BASED,
    CODE,
    CODE_32,
    DATA,
    DF,
    GDT,
    GP,
    IDT,
    IF,
    IOPL3,
    IST2,
    PF,
    TSS,
    UD,
    USER,
    TrapGuest,
    assemble,
    segment,
    to_user,
)

BASE = 0x1000
SHORT = 0x124000  # compatibility-mode code
FEATURES = (0xC0000080, 0xC0000081, 0xC0000082, 0xC0000083)  # EFER, STAR, LSTAR, CSTAR
Make = Callable[..., TrapGuest]


def maker(stack: ExitStack, technique: str) -> Make:
    def make(code: str | bytes, pieces: dict[int, str | bytes] | None = None, **options: Any) -> TrapGuest:
        return stack.enter_context(TrapGuest(code, pieces, technique=technique, **options))

    return make


@pytest.fixture(params=["hardware", "hardware-apicv"])
def guest(request: pytest.FixtureRequest) -> Iterator[Make]:
    with ExitStack() as stack:
        yield maker(stack, request.param)


@pytest.fixture(params=["trap", "hardware"])
def either(request: pytest.FixtureRequest) -> Iterator[Make]:
    """What every technique for unmodified guests has to get right."""
    with ExitStack() as stack:
        yield maker(stack, request.param)


def short(text: str, base: int = 0) -> bytes:
    """32-bit code at SHORT, in a segment of `base`."""
    code, _ = Ks(KS_ARCH_X86, KS_MODE_32).asm(text, SHORT - base)
    return bytes(code)


def in_compatibility_mode(make: Make, text: str, base: int, before: str = "", **options: Any) -> TrapGuest:
    made = make(f"{before} push {CODE_32}; push {SHORT - base}; retfq", {SHORT: short(text, base)}, **options)
    made.memory.write_uint(GDT + CODE_32, 8, segment(0x9B, base=base, big=True))
    return made


def status(outcome: Outcome) -> int | None:
    assert outcome.why is StopWhy.EXITED, outcome.summary
    return outcome.status


@pytest.mark.parametrize("base", [0, BASE])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("xor eax, eax; cpuid", "CPUID"),
        ("mov ecx, 0xc0000080; rdmsr", "MSR_READ"),
        ("wbinvd", "WBINVD"),
        ("rdtsc", None),
        ("mov eax, cr3; mov cr3, eax", None),
        ("out 0x80, al", "IO_INSTRUCTION"),
    ],
)
def test_an_exit_in_compatibility_mode_is_of_the_instruction_that_ran(
    guest: Make, text: str, reason: str | None, base: int
) -> None:
    made = in_compatibility_mode(guest, f"{text}; mov al, 99; out 0xf4, al", base)
    outcome = made.run()
    assert status(outcome) == 99
    ending = {"IO_INSTRUCTION": 1}
    expected = ending if reason is None else {**ending, reason: 1 + (reason in ending)}
    assert dict(outcome.exits) == expected


@pytest.mark.parametrize("base", [0, BASE])
@pytest.mark.parametrize("text", ["mov cr0, eax", "mov cr4, eax", "lgdt [0x130000]", "mov dr7, eax"])
def test_what_would_have_to_be_decoded_there_ends_the_guest_and_says_so(guest: Make, text: str, base: int) -> None:
    outcome = in_compatibility_mode(guest, f"nop; {text}", base, options={"intercept": "gdtr-idtr"}).run()
    assert outcome.why is StopWhy.UNHANDLED
    assert f"RIP {SHORT - base + 1:#x} is in compatibility mode" in outcome.summary


def test_a_system_call_from_compatibility_mode_goes_where_cstar_says(guest: Make) -> None:
    efer, star, lstar, cstar = FEATURES
    before = (
        f"mov ecx, {efer}; rdmsr; or eax, 1; wrmsr; mov ecx, {star}; xor eax, eax; mov edx, 8; wrmsr; xor edx, edx;"
        f"mov ecx, {lstar}; mov eax, {DATA}; wrmsr; mov ecx, {cstar}; mov eax, {DATA + 64}; wrmsr;"
    )
    made = in_compatibility_mode(guest, "syscall", BASE, before)
    made.memory.write(DATA, assemble("mov al, 1; out 0xf4, al", DATA))
    made.memory.write(DATA + 64, assemble("mov al, 2; out 0xf4, al", DATA + 64))
    assert status(made.run()) == 2


def test_a_handler_of_64_bits_sees_no_base_of_the_code_it_interrupts(guest: Make) -> None:
    made = in_compatibility_mode(guest, f"mov ax, {BASED}; mov ds, ax; int 0x30", 0)
    load = b"\x67\x8a\x04\x25" + (DATA + 8).to_bytes(4, "little")  # mov al, [dword DATA + 8]
    made.memory.write(DATA + 64, load + assemble("out 0xf4, al"))
    made.memory.write(DATA + 8, b"\x07")
    made.gate(0x30, DATA + 64)
    assert status(made.run()) == 7


@pytest.mark.parametrize("code", ["f00fa2", "f00f22c0", "f00f22d8", "f00f09", "f00f32", "f0f4", "f00f01f9"])
def test_lock_before_what_exits_is_undefined(guest: Make, code: str) -> None:
    assert status(guest(bytes.fromhex(code) + assemble("mov al, 99; out 0xf4, al")).run()) == UD


@pytest.mark.parametrize("text", ["cpuid", "wbinvd", "rdtsc", "mov cr3, rbx", "mov cr0, rcx", "rdmsr", "hlt"])
def test_an_instruction_whose_page_the_guest_has_taken_away_faults(guest: Make, text: str) -> None:
    page = CODE + 0x2000
    made = guest("nop", {page: f"mov qword ptr [rdi], 0; {text}; mov al, 99; out 0xf4, al"})
    made.memory.write(CODE, assemble(f"mov rdi, {made.page_entry(page)}; mov rbx, cr3; mov rcx, cr0; jmp {page}"))
    outcome = made.run()
    assert status(outcome) == PF
    assert made.frame(error=True).rip == page + len(assemble("mov qword ptr [rdi], 0"))
    assert set(outcome.exits) == {"IO_INSTRUCTION"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("smsw eax", 0x33), ("smsw ax", 0x33), ("smsw rax", 0x33), (f"smsw word ptr [{DATA}]; mov al, [{DATA}]", 0x33)],
)
def test_smsw_is_a_read_of_cr0(guest: Make, text: str, expected: int) -> None:
    text = f"mov rax, cr0; and eax, -9; mov cr0, rax; mov eax, -1; {text}; out 0xf4, al"
    without, exits = guest(text).run(), guest(text, options={"intercept": "cr0"}).run()
    assert status(without) == status(exits) == expected
    assert exits.exits["CR_ACCESS"] == without.exits["CR_ACCESS"] + 2


def test_int_6_is_a_software_interrupt_and_the_next_exit_is_where_it_is(either: Make) -> None:
    made = either("int 6; xor eax, eax; cpuid; mov al, 99; out 0xf4, al", {DATA: "iretq"})
    made.gate(UD, DATA)
    assert status(made.run()) == 99


def test_int_6_of_a_program_needs_a_gate_for_programs(either: Make) -> None:
    made = either(to_user() + "iretq", {USER: "int 6; hlt"})
    assert status(made.run()) == GP
    frame = made.frame(error=True)
    assert (frame.rip, frame.error) == (USER, UD * 8 + 2)


def test_a_frame_that_is_pushed_over_code_is_the_code(either: Make) -> None:
    new = int.from_bytes(assemble("mov al, 7; out 0xf4, al").ljust(8, b"\0"), "little")
    top = SHORT + 16  # RSP of the frame lies at SHORT
    made = either(
        f"mov eax, {SHORT}; call rax; mov rsp, {new}; ud2",
        {SHORT: "mov al, 1; nop; nop; ret", DATA: f"mov rsp, {IST2}; mov eax, {SHORT}; jmp rax"},
    )
    made.gate(UD, DATA, ist=1)
    made.memory.write_uint(TSS + 36, 8, top)
    assert status(made.run()) == 7


def test_a_stack_on_a_device_within_memory_is_no_memory(guest: Make) -> None:
    code = f"mov rax, cr3; mov rax, [rax]; and rax, -4096; mov rbx, 0xc0000083; mov [rax + 24], rbx; lidt [{DATA}];"
    made = guest(code + "mov rsp, 0xfee00088; ud2", memory="5GiB")
    made.memory.write(DATA, (0xFFF).to_bytes(2, "little") + IDT.to_bytes(8, "little"))
    outcome = made.run()
    assert outcome.why is StopWhy.SHUTDOWN, outcome.summary
    assert made.memory.read(0xFEE00000, 0x88) == bytes(0x88)


def test_a_snapshot_from_a_file_goes_on_whatever_the_guest_did_to_its_flags(guest: Make, tmp_path: Path) -> None:
    made = guest(f"push {IOPL3 | IF | 2}; popfq; out 0x80, al; pushfq; pop rax; shr eax, 12; out 0xf4, al")
    assert made.run(max_exits=1).why is StopWhy.MAX_EXITS
    made.machine.snapshot().save(tmp_path / "saved")
    with Machine.from_snapshot(Snapshot.load(tmp_path / "saved"), plugins=False) as again:
        assert status(again.run(timeout=20)) == status(made.run()) == 3


@pytest.mark.parametrize(
    ("intercept", "expected"), [("pf", {PF: 2}), ("df", {DF: 1}), ("pf,df", {PF: 2}), ("gp", {}), ("ud", {UD: 1})]
)
def test_a_fault_on_the_way_to_a_handler_exits_where_it_is_named(
    guest: Make, intercept: str, expected: dict[int, int]
) -> None:
    """#UD; its handler's page is not there; nor is the page of #PF's stack."""
    made = guest("ud2", options={"intercept": intercept})
    made.gate(UD, 0x7FFF_F000_0000)
    made.gate(PF, ist=1)
    made.memory.write_uint(TSS + 36, 8, 0x7FFF_E000_0000)
    assert status(made.run()) == DF
    counted = made.vcpu.counters()
    assert {key: number for (reason, key), number in counted.items() if reason == Reason.EXCEPTION_NMI} == expected


@pytest.mark.parametrize("name", ["v.cr0", "v.cr3", "v.cr4", "v.efer"])
def test_a_made_up_copy_of_a_control_register_is_refused(guest: Make, tmp_path: Path, name: str) -> None:
    made = guest("out 0x80, al; hlt")
    made.run(max_exits=1)
    made.machine.snapshot().save(tmp_path / "saved")
    saved = Snapshot.load(tmp_path / "saved")
    saved.state["processor"][name] ^= 0x1000
    with pytest.raises(SnapshotError, match="in no state that there is"):
        Machine.from_snapshot(saved, plugins=False)
