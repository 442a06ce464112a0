"""Kernels and programs that look for the translation cache, and instructions that a translator would get wrong."""

from __future__ import annotations

import pytest

from tests.fuzz.runner import Between
from tests.hostile.translated import TRANSLATE, observed, same
from tests.pv.engines.unicorn.guests import (
    CODE,
    DATA,
    GP,
    IDT,
    PF,
    UD,
    USER,
    TrapGuest,
    assemble,
    to_user,
)

END = "mov al, 99; out 0xf4, al"
FREE = 0x200000  # memory that the loader maps and nothing uses, to the end of 4 MiB
SLOT = 1 << 39  # bytes of an entry of the root
NX = 1 << 63
FIRST_SLOT = 264  # of the root, where the cache is unless the guest has something there


@pytest.fixture(autouse=True)
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine's memory stands between canaries."""
    monkeypatch.setattr("pv.machine.GuestMemory", Between)


PREFIXES = (
    "66",
    "67",
    "f2",
    "f3",
    "2e",
    "36",
    "3e",
    "26",
    "64",
    "65",
    "40",
    "48",
    "4f",
    "66f2",
    "f36667",
    "f0",
    "f0f2",
)
BODIES = (
    "90", "ffc0", "8b03", "8903", "c3", "eb00", "e800000000", "ff23", "ff13", "7500", "0f8500000000", "e200", "e300",
    "fa", "fb", "9c58", "6a029d", "0fa2", "0f0b", "0f05", "cc", "cd40", "0f01c1", "0f01d9", "0f1ac0", "0f1bc0",
    "0f1b03", "0f1a0b", "0f01ee", "0f01ef", "8cc8", "8cd0", "0f20c0", "0f0103", "a4", "aa", "a5", "62f17c4828c0",
    "0fae2b", "0fae03", "0f01ca", "0f01cb", "e000", "ea", "9a", "06", "d6", "0f3f", "0fff", "8ec8", "9b",
)  # fmt: skip
LOCKED_ALIKE = tuple(one for one in BODIES if one not in ("fa", "fb", "0fa2", "0f20c0", "0f0103"))


@pytest.mark.parametrize("body", BODIES)
def test_every_prefix_before_what_a_translator_changes(body: str) -> None:
    """MPX's instructions and those of protection keys among them."""
    for prefix in ("", *(one for one in PREFIXES if "f0" not in one or body in LOCKED_ALIKE)):
        code = bytes.fromhex(prefix + body) + assemble("nop; " + END)
        begin = (
            f"mov ebx, {DATA + 0x100}; mov edi, {DATA + 0x200}; mov esi, {DATA + 0x300}; mov ecx, 2; jmp {CODE + 0x80}"
        )
        same(begin, {CODE + 0x80: code, DATA + 0x100: (CODE + 0xC0).to_bytes(8, "little"), CODE + 0xC0: END})


LOOK = f"""
    mov r14, {FREE}
    mov r12, 0
slot:
    mov r13, r12
    shl r13, 39
    shl r13, 16
    sar r13, 16
    mov r11d, {{offsets}}
place:
    lea r15, [rip + second]
    mov rax, [r13]
second:
    lea r15, [rip + third]
    mov [r13], rax
third:
    lea r15, [rip + fourth]
    test r12, r12
    jz fourth
    {{go}}
fourth:
    add r13, 4096
    dec r11d
    jnz place
    inc r12
    cmp r12, 512
    jb slot
    {END}
"""
HANDLER = (
    "mov rax, [rsp]; mov [r14], rax; mov rax, cr2; mov [r14 + 8], rax; add r14, 16;"
    "add rsp, 8; mov [rsp], r15; mov byte ptr [rsp + 18], 0; iretq"  # without RF
)


def test_no_entry_of_the_root_holds_anything_but_the_guests_own() -> None:
    """A load, a store and a jump at the first pages of each of the 512: what is not the guest's is not there."""
    text = LOOK.format(offsets=12, go="jmp r13")

    def prepare(guest: TrapGuest) -> None:
        guest.gate(PF, DATA)

    left = same(text, {DATA: HANDLER}, prepare)
    assert left.status == 99
    assert left.seen.registers["r14"] - FREE == 16 * 3 * 12 * 511


def test_no_entry_of_the_root_is_a_programs() -> None:
    """The same at CPL 3: a program reads, writes and jumps, and the kernel notes each #PF."""
    text = LOOK.format(offsets=12, go="jmp r13").replace(END, "int 0x63")

    def prepare(guest: TrapGuest) -> None:
        guest.gate(PF, DATA)
        guest.gate(0x63, dpl=3)

    left = same(to_user() + "iretq", {USER: text, DATA: HANDLER}, prepare)
    assert left.status == 0x63
    assert left.seen.registers["r14"] - FREE >= 16 * 3 * 12 * 511


@pytest.mark.parametrize("entries", [255, 511])
def test_a_guest_with_something_of_its_own_in_every_entry_of_the_root(entries: int) -> None:
    """Each entry leads to the guest's low memory: it is read, written and run through each of them."""
    root_entry = (
        "mov rax, cr3; mov rbx, [rax]; mov ecx, 1; fill: mov [rax + rcx * 8], rbx; inc ecx; cmp ecx, {0}; jbe fill;"
    )
    use = f"""
        mov ecx, {entries}
    again:
        mov rbx, rcx
        shl rbx, 55
        sar rbx, 16
        inc dword ptr [rbx + {DATA}]
        lea rax, [rbx + {CODE + 0x200}]
        call rax
        dec ecx
        jnz again
        {END}
    """
    left = same(
        root_entry.format(entries) + use.replace("\n", ";"), {CODE + 0x200: "add esi, [rip - 6]; cli; sti; ret"}
    )
    assert left.status == 99
    assert int.from_bytes(left.seen.memory[DATA : DATA + 4], "little") == entries
    assert (left.statistics["cache moved"] > 0) is (entries > FIRST_SLOT)


def test_tables_and_frames_that_a_guest_can_ask_for_are_its_own() -> None:
    """SGDT, SIDT, SLDT, STR, SMSW, MOV from CS and SS, LAR, LSL, a return address, and the frames of INT n and #UD."""
    text = f"""
        mov ebx, {DATA}; sgdt [rbx]; sidt [rbx + 16]; sldt [rbx + 32]; str [rbx + 34]; smsw [rbx + 36]
        mov [rbx + 38], cs; mov [rbx + 40], ss; mov ecx, 8; lar edx, ecx; lsl esi, ecx; call next
    next:
        pop rdi; call [rip + there]; jmp on
    there:
        .quad {CODE + 0x300}
    on:
        sub rsp, 64; int 0x40
    """.replace("\n", ";")
    left = same(text, {CODE + 0x300: "mov rbp, [rsp]; ret"})
    assert left.status == 0x40
    assert left.seen.memory[DATA + 18 : DATA + 26] == IDT.to_bytes(8, "little")
    assert left.seen.registers["rdi"] < CODE + 0x100 > left.seen.registers["rbp"]


LOCKED_OUT = (
    "f0fa", "f0fb", "f0f4", "f00fa2", "f00f31", "f00f22d8", "f00f0103", "f00f010b", "f00f00c0", "f00f01e0", "f08cc8",
    "f09c", "f0c3", "f0eb00", "c5f80103", "c5f8010b", "c5f800c0", "c5f8a2", "c5f805", "c5f831",
)  # fmt: skip


@pytest.mark.parametrize("level", ["kernel", "program"])
@pytest.mark.parametrize("body", LOCKED_OUT)
def test_lock_and_vex_where_they_may_not_stand_end_no_machine(body: str, level: str) -> None:
    """#UD, or what the processor beneath makes of it: in any case an event of the guest's."""
    code = bytes.fromhex(body) + assemble("int 0x63")
    begin = f"mov ebx, {DATA}; push {CODE + 0xC0};" + (f"jmp {USER}" if level == "kernel" else to_user() + "iretq")

    def prepare(guest: TrapGuest) -> None:
        guest.gate(0x63, dpl=3)

    seen = observed(TRANSLATE, begin, {USER: code, CODE + 0xC0: "int 0x63"}, prepare, {}).seen.outcome
    assert seen.status in (UD, GP, PF, 0x63), seen.summary
