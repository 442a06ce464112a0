"""What trap-and-emulate cannot close, and translation does: each hole is run, and docs/holes.md says what was seen.

`python -m tests.pv.engines.unicorn.test_holes` writes the page's table again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.pv.engines.unicorn.guests import (
    DATA,
    EXCEPTION,
    FILLS,
    KERNEL_SS,
    NM,
    SOFTWARE,
    UD,
    Kinds,
    TrapGuest,
    assemble,
)

PAGE: Final = Path(__file__).parents[4] / "docs" / "holes.md"
BEGIN, END = "<!-- seen by tests/pv/engines/unicorn/test_holes.py -->\n", "<!-- end -->\n"
HEAD: Final = (
    "| instruction | on a real processor at CPL 1 | here | under `translate` | why another technique exists |\n"
    "| --- | --- | --- | --- | --- |\n"
)
VECTOR: Final = 0x40
FAR_POINTER: Final = (0x9000).to_bytes(8, "little") + KERNEL_SS.to_bytes(2, "little")  # m16:64
NULL_POINTER: Final = (0x9000).to_bytes(4, "little") + bytes(2)  # m16:32
TRANSLATED: Final = "translation puts a callout in its place"
MADE_TO_EXIT: Final = "SVM and VT-x can have it exit"


class TranslatedGuest(TrapGuest):
    """The same guest, its kernel rewritten."""

    technique = "translate"


class Hole(NamedTuple):
    """code runs at the guest's CPL 0 with R15 = RBX = DATA; see() says in words what it left.

    closed: what see() says under translate, as at CPL 0 on the guest's own machine; "#UD" where that is what comes.
    """

    instruction: str
    code: str | bytes
    see: Callable[[TrapGuest], str]
    real: str
    closed: str
    why: str
    before: str = ""


def pseudo_descriptor(guest: TrapGuest) -> str:
    base, limit = guest.word(DATA + 2), guest.word(DATA, 2)
    return f"base {base:#x}, limit {limit:#x}" + ("" if limit else ": the engine's table is empty")


def rcx(text: str) -> Callable[[TrapGuest], str]:
    return lambda guest: text.format(guest.vcpu.rcx)


def interrupt_flag(guest: TrapGuest) -> str:
    seen = "set" if guest.vcpu.rcx >> 9 & 1 else "clear"
    held = "set" if guest.frame().rflags >> 9 & 1 else "clear"  # as the interrupt that ends the guest found it
    return f"IF reads {seen}; the guest's own is {held}"


def held(guest: TrapGuest) -> str:
    count = guest.vcpu.events()["ring held"]
    if not count:
        return f"SS reads {guest.vcpu.rcx:#x}"
    reads = f"no trap; SS reads {guest.vcpu.rcx:#x}; "
    return reads + f"CPL was {guest.vcpu.cpl} again before the next instruction ({count} held)"


def zero_flag(guest: TrapGuest) -> str:
    return "ZF clear: no such segment" if not guest.vcpu.rcx & 0x40 else "ZF set"


HOLES: Final = (
    Hole("SGDT", "sgdt [r15]", pseudo_descriptor, "the monitor's GDTR", "base 0x2000, limit 0x97",
         f"{MADE_TO_EXIT}; UMIP keeps CPL 3 out of it"),
    Hole("SIDT", "sidt [r15]", pseudo_descriptor, "the monitor's IDTR", "base 0x3000, limit 0xfff",
         "the red pill: one instruction tells a guest that it is one"),
    Hole("SLDT", "sldt ecx", rcx("{:#x}"), "the monitor's LDTR", "0x38", MADE_TO_EXIT,
         before="mov ecx, 0x38; lldt cx"),
    Hole("STR", "str ecx", rcx("{:#x}"), "the monitor's TR", "0x28", MADE_TO_EXIT),
    Hole("SMSW", "smsw ecx", rcx("{:#x}"), "the monitor's CR0, TS and NE among it", "0x80050013",
         "hardware virtualization gives the guest its own CR0",
         before="mov rax, cr0; and eax, 0xffffffdf; mov cr0, rax"),
    Hole("PUSHF", "pushfq; pop rcx", interrupt_flag, "IF as the monitor has it, IOPL 0",
         "IF reads clear; the guest's own is clear",
         "paravirtual guests keep IF in a shared page",
         before="cli"),
    Hole("POPF", "push 0x202; popfq; pushfq; pop rcx", interrupt_flag,
         "IF and IOPL keep their values, without a trap", "IF reads set; the guest's own is set",
         f"{TRANSLATED}; else interrupts stay off for ever", before="cli"),
    Hole("MOV from CS", "mov ecx, cs", rcx("{:#x}"), "RPL 1", "0x8", "the guest learns its true ring"),
    Hole("MOV from SS", "mov ecx, ss", rcx("{:#x}"), "RPL 1", "0x10", "the guest learns its true ring"),
    Hole("FNSTENV", "fninit; fld1; fnstenv [r15]; movzx ecx, word ptr [r15 + 16]",
         rcx("the x87 instruction's CS: {:#x}"), "RPL 1, where the processor still keeps it",
         "the x87 instruction's CS: 0x8", TRANSLATED),
    Hole("CS in a trap frame", "int 0x41; mov ecx, [rsp - 32]", rcx("{:#x}"), "what the monitor pushes", "0x8",
         "no hole: events are delivered by the monitor"),
    Hole("LAR", "mov edx, 8; lar eax, edx; pushfq; pop rcx", zero_flag, "a segment of the monitor's GDT",
         "ZF set", TRANSLATED),
    Hole("LSL", "mov edx, 8; lsl eax, edx; pushfq; pop rcx", zero_flag, "a segment of the monitor's GDT",
         "ZF set", TRANSLATED),
    Hole("VERR", "mov edx, 16; verr dx; pushfq; pop rcx", zero_flag, "a segment of the monitor's GDT",
         "ZF set", TRANSLATED),
    Hole("VERW", "mov edx, 16; verw dx; pushfq; pop rcx", zero_flag, "a segment of the monitor's GDT",
         "ZF set", TRANSLATED),
    Hole("MOV to SS of a null selector", "xor edx, edx; mov ss, dx; mov ecx, ss", held, "#GP(0): RPL 0 is not CPL 1",
         "SS reads 0x0", "the engine goes to CPL 0; the core stops it there and sets the ring back"),
    Hole("LSS to null", assemble("nop") + b"\x0f\xb2\x63\x20" + assemble("mov ecx, ss"), held,
         "#GP(0): RPL 0 is not CPL 1", "SS reads 0x0", "as MOV to SS"),
    Hole("LSS of 64 bits, offset below 4 GiB", b"\x48\x0f\xb2\x23" + assemble("mov ecx, ss"), held,
         "#GP(selector)", "SS reads 0x10",
         "the engine takes the selector from byte 4 of the pointer, as if it were of 32 bits"),
    Hole("LFS of 64 bits, offset below 4 GiB", b"\x48\x0f\xb4\x03" + assemble("mov ecx, fs"), rcx("FS reads {:#x}"),
         "#GP(selector)", "FS reads 0x10", "as LSS"),
    Hole("RDRAND, which CPUID hides", b"\x0f\xc7\xf1" + assemble("setc cl; movzx ecx, cl"), rcx("runs; CF is {}"),
         "runs", "#UD",
         "what is only hidden still works: runs that must repeat may not use it"),
    Hole("VEX prefixes, which CPUID hides", b"\xc5\xf8\x77" + assemble("mov ecx, 1"), rcx("run as their SSE forms"),
         "#UD without CR4.OSXSAVE", "#UD",
         "the engine decodes them whatever CR4 says"),
    Hole("a breakpoint in DR0",
         f"mov ecx, {DATA}; mov dr0, rcx; mov ecx, 0x30001; mov dr7, rcx; mov rcx, [r15]; mov rcx, dr7",
         rcx("DR7 keeps {:#x}; nothing fires"), "nothing: the monitor's debug registers are in use",
         "DR7 keeps 0x30401; nothing fires",
         "hardware virtualization switches them; on this engine they are values there as well"),
    Hole("WAIT with CR0.TS set and CR0.MP clear", "wait", rcx("{} times #NM"), "#NM: CR0 is the monitor's",
         "0 times #NM", "hardware virtualization gives the guest its own CR0",
         before="mov rax, cr0; and eax, 0xfffffffd; or eax, 8; mov cr0, rax; xor ecx, ecx"),
    Hole("SSE with CR4.OSFXSR clear",
         "mov rax, cr4; and eax, 0xfffffdff; mov cr4, rax; movaps xmm0, xmm1; mov ecx, 1", rcx("runs"),
         "runs: CR4 is the monitor's", "#UD", "hardware virtualization gives the guest its own CR4"),
)  # fmt: skip


def run(hole: Hole, make: type[TrapGuest] = TrapGuest) -> tuple[str, Kinds]:
    """What the guest saw, and its exits but for those that every run has."""
    body = assemble(hole.code) if isinstance(hole.code, str) else hole.code
    before = assemble(hole.before) if hole.before else b""
    code = before + body + assemble(f"int {VECTOR}")
    with make(code, {DATA + 0x100: "iretq", DATA + 0x110: "inc ecx; clts; iretq"}) as guest:
        guest.gate(0x41, DATA + 0x100)
        guest.gate(NM, DATA + 0x110)
        guest.memory.write(DATA, FAR_POINTER)
        guest.memory.write(DATA + 0x20, NULL_POINTER)
        guest.vcpu.r15 = guest.vcpu.rbx = DATA
        outcome = guest.run()
        if outcome.status == UD:
            return "#UD", outcome.by_key
        assert outcome.status == VECTOR
        assert {entry.cpl for entry in guest.vcpu.flight_record()} == {1}
        usual = {FILLS, (SOFTWARE, f"INT {VECTOR:#x}"), ("IO_INSTRUCTION", "port 0xf4 write")}
        return hole.see(guest), {kind: count for kind, count in outcome.by_key.items() if kind not in usual}


def line(hole: Hole, trap: str, translate: str) -> str:
    return f"| {' | '.join((hole.instruction, hole.real, trap, translate, hole.why))} |\n"


def table() -> str:
    return HEAD + "".join(line(hole, run(hole)[0], run(hole, TranslatedGuest)[0]) for hole in HOLES)


@pytest.mark.parametrize("hole", HOLES, ids=[hole.instruction for hole in HOLES])
def test_the_page_says_what_is_seen(hole: Hole) -> None:
    seen, exits = run(hole)
    assert line(hole, seen, hole.closed) in PAGE.read_text()
    assert (EXCEPTION, "#GP") not in exits
    assert (EXCEPTION, "#UD") not in exits


@pytest.mark.parametrize("hole", HOLES, ids=[hole.instruction for hole in HOLES])
def test_translation_closes_it(hole: Hole) -> None:
    seen, exits = run(hole, TranslatedGuest)
    assert seen == hole.closed
    assert (EXCEPTION, "#GP") not in exits


def test_only_the_breakpoint_is_open_under_translate() -> None:
    """A row whose guest sees the same under both is no hole of trap's, or one that is left: the engine's DR0."""
    alike = [hole.instruction for hole in HOLES if run(hole)[0] == hole.closed]
    assert alike == ["CS in a trap frame", "a breakpoint in DR0"]


def test_translation_keeps_a_flag_that_popf_restores() -> None:
    with TranslatedGuest("sti; pushfq; cli; popfq; int 0x40") as guest:
        outcome = guest.run()
        assert guest.frame().rflags >> 9 & 1
        assert outcome.by_key == {(SOFTWARE, "INT 0x40"): 1, ("IO_INSTRUCTION", "port 0xf4 write"): 1}


def test_the_page_has_no_other_rows() -> None:
    shown = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    assert shown.count("\n") == HEAD.count("\n") + len(HOLES)


def test_a_kernel_that_restores_its_flag_by_popf_loses_interrupts() -> None:
    """The hole that matters most: PUSHF, CLI, POPF is how a kernel leaves a critical section."""
    with TrapGuest("sti; pushfq; cli; popfq; int 0x40") as guest:
        guest.run()
        assert not guest.frame().rflags >> 9 & 1


if __name__ == "__main__":
    text = PAGE.read_text()
    first, rest = text.split(BEGIN)
    PAGE.write_text(first + BEGIN + table() + END + rest.split(END)[1])
