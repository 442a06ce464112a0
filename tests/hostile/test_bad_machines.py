"""Tables onto themselves and into devices, code that overwrites itself, faults nested to the end, stacks in devices.

And what is no instruction. Each runs on as it should or stops with its place, under every technique with guest tables.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest

from pv.exits import StopWhy
from pv.techniques import TECHNIQUES as ALL
from tests.hostile.guests import run_flat
from tests.pv.engines.unicorn_memory.machines import BASE, assemble, exit_with

TECHNIQUES: Final = tuple(name for name, one in ALL.items() if one.boot == "guest tables")
HALTED, TRIPLE, UNHANDLED, EXITED = StopWhy.HALTED, StopWhy.SHUTDOWN, StopWhy.UNHANDLED, StopWhy.EXITED

# RAX: the root, which is its own entry 510; RDI: where it then sees itself; RBX: the entry.
SELF: Final = "mov rax, cr3; lea rbx, [rax + 3]; mov [rax + 510 * 8], rbx; mov cr3, rax; mov rdi, 0xffffff7fbfdfe000; "
POINTERS: Final = "mov rax, cr3; mov rbx, [rax]; and rbx, -4096; "  # RBX: the table of 1 GiB each
DEVICE: Final = (  # RAX: the local APIC's page, mapped
    f"{POINTERS} mov qword ptr [rbx + 24], 0x180003; mov eax, 0xfee00083; mov [0x180000 + 503 * 8], rax; "
    "mov eax, 0xfee00000; "
)
FAR: Final = "mov ecx, 0x40000000; "  # what the second entry of POINTERS maps


class Abuse(NamedTuple):
    """`last` is the instruction at which the run must stand when it ends; None: it goes on past it."""

    begin: str
    last: str
    why: tuple[StopWhy, ...]
    says: str = ""


ABUSES: Final = {
    "tables seen through themselves": Abuse(SELF, "mov rcx, [rdi]; cli; hlt", (HALTED,)),
    "a stack in the root": Abuse(f"{SELF} lea rsp, [rdi + 0x800];", "push rbx; call b; b: cli; hlt", (HALTED,)),
    "an event onto the root": Abuse(f"{SELF} lea rsp, [rdi + 32];", "ud2", (TRIPLE,), "vector 6"),
    "a table in a device": Abuse(
        f"{POINTERS} mov rdx, 0xfee00003; mov [rbx + 8], rdx; {FAR}", "mov rdx, [rcx]", (TRIPLE,), "vector 14"
    ),
    "a table in no memory": Abuse(
        f"{POINTERS} mov rdx, 0x7ffff003; mov [rbx + 8], rdx; {FAR}", "mov rdx, [rcx]", (TRIPLE,), "vector 14"
    ),
    "a page in no memory": Abuse(
        f"{POINTERS} mov rdx, 0x40000083; mov [rbx + 8], rdx; {FAR}", "mov rdx, [rcx]", (UNHANDLED,), "0x40000000"
    ),
    "push onto a device": Abuse(f"{DEVICE} lea rsp, [rax + 0x88];", "push rcx", (UNHANDLED,), "0xfee00080"),
    "pop off a device": Abuse(f"{DEVICE} lea rsp, [rax + 0x80];", "pop rcx", (UNHANDLED,), "0xfee00080"),
    "a return address in a device": Abuse(f"{DEVICE} lea rsp, [rax + 0x80];", "ret", (UNHANDLED,), "0xfee00080"),
    "a call onto a device": Abuse(f"{DEVICE} lea rsp, [rax + 0x88];", "call b; b: nop", (UNHANDLED,), "0xfee00080"),
    "an event onto a device": Abuse(f"{DEVICE} lea rsp, [rax + 0x100];", "ud2", (TRIPLE,), "vector 6"),
    "a frame in a device": Abuse(f"{DEVICE} lea rsp, [rax + 0x80];", "iretq", (UNHANDLED, TRIPLE), ""),
    "gates in a device": Abuse(
        f"{DEVICE} mov [0x5002], rax; mov word ptr [0x5000], 0xfff; lidt [0x5000];", "ud2", (TRIPLE,), "vector 6"
    ),
    "segments in a device": Abuse(
        f"{DEVICE} mov [0x5002], rax; mov word ptr [0x5000], 0xff; lgdt [0x5000]; mov ecx, 16;", "mov ds, ecx",
        (UNHANDLED, TRIPLE),
    ),
    "a wide access to a device": Abuse(DEVICE, "fxsave [rax]", (UNHANDLED,), "0xfee00000"),
    "no gates at all": Abuse("", "ud2", (TRIPLE,), "vector 6"),
    "a page fault without gates": Abuse("mov rcx, 0x1000000000;", "mov rax, [rcx]", (TRIPLE,), "vector 14"),
    "no stack for the event": Abuse("mov rsp, 0x1000000000;", "ud2", (TRIPLE,), "vector 6"),
}  # fmt: skip


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("name", ABUSES)
def test_it_runs_on_or_stops_with_its_place(name: str, technique: str) -> None:
    abuse = ABUSES[name]
    begin = assemble(abuse.begin) if abuse.begin else b""
    last = assemble(abuse.last, BASE + len(begin))
    outcome, _ = run_flat(begin + last, technique, timeout=20)
    assert outcome.why in abuse.why
    if abuse.why != (HALTED,):
        assert outcome.rip == BASE + len(begin)
        assert outcome.code.startswith(last)
    assert abuse.says in outcome.detail
    assert outcome.summary.count("\n") == 0


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(("root", "what"), [(0xFEE00000, "a device"), (0x7FFFF000, "no memory")])
def test_a_root_in_a_device_or_nowhere(root: int, what: str, technique: str) -> None:
    outcome, _ = run_flat(f"mov eax, {root:#x}; mov cr3, rax; nop", technique, timeout=20)
    assert (outcome.why, outcome.rip, outcome.code) == (TRIPLE, BASE + 8, b""), what
    assert outcome.detail.startswith("vector 14 ")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_code_in_a_device(technique: str) -> None:
    outcome, _ = run_flat(f"{DEVICE} jmp rax", technique, timeout=20)
    assert (outcome.why, outcome.rip) == (UNHANDLED, 0xFEE00000)
    assert "fetch" in outcome.detail


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("filled", ["xor ebx, ebx; mov ecx, 1", "mov ecx, 512"])
def test_a_root_that_loses_its_own_code(filled: str, technique: str) -> None:
    """The root is overwritten through itself, and loaded once more by code that is no longer mapped."""
    outcome, _ = run_flat(
        f"{SELF} {filled}; mov rax, rbx; rep stosq; mov rcx, cr3; mov cr3, rcx; nop", technique, timeout=20
    )
    assert outcome.why is TRIPLE
    assert outcome.detail.startswith("vector 14 ")
    assert BASE <= outcome.rip < BASE + 0x2000


def test_it_ends_alike_under_every_technique() -> None:
    """Where a stop is the guest's own, its place and its kind are."""
    for abuse in ABUSES.values():
        if len(abuse.why) > 1:
            continue
        found = set()
        for technique in TECHNIQUES:
            outcome, machine = run_flat(f"{abuse.begin} {abuse.last}", technique, timeout=20)
            found.add((outcome.why, outcome.rip, outcome.code, machine.console.text))
        assert len(found) == 1


# ---- code that overwrites itself ----


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_next_instruction_of_the_block_that_runs(technique: str) -> None:
    code = assemble("xor eax, eax; xor ebx, ebx") + b"\xc6\x05\x01\x00\x00\x00\xc3" + b"\xff\xc0"
    outcome, machine = run_flat(code + assemble("lea eax, [rax + rbx * 2]; out 0xf4, al"), technique, timeout=20)
    assert (outcome.why, outcome.status) == (EXITED, 2)
    assert machine.outcome is outcome


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_block_rewritten_through_another_address(technique: str) -> None:
    begin = assemble(f"{POINTERS} mov rdx, [rbx]; mov [rbx + 8], rdx; mov ecx, 0x40000000; xor eax, eax; xor ebx, ebx")
    at = BASE + len(begin) + 7
    code = begin + b"\xc6\x81" + (at + 1).to_bytes(4, "little") + b"\xc3" + b"\xff\xc0"  # MOV byte [RCX + at + 1]
    outcome, _ = run_flat(code + assemble("lea eax, [rax + rbx * 2]; out 0xf4, al"), technique, timeout=20)
    assert (outcome.why, outcome.status) == (EXITED, 2)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_string_that_overwrites_itself(technique: str) -> None:
    """REP STOSB over its own instruction: what is behind it is what it stored."""
    begin = assemble("mov al, 0xf4; mov ecx, 64")
    at = BASE + len(begin) + 5
    outcome, _ = run_flat(
        begin + b"\xbf" + at.to_bytes(4, "little") + b"\xf3\xaa" + b"\x90" * 60, technique, timeout=20
    )
    assert outcome.why in (HALTED, TRIPLE)
    assert at <= outcome.rip <= at + 64


# ---- what is no instruction ----

UNENCODABLE: Final = {
    "sixteen bytes": (b"\x66" * 15 + b"\x90", (6, 13)),
    "a segment that is none": (b"\x8e\xf8", (6,)),
    "CS by MOV": (b"\x8e\xc8", (6,)),
    "a control register that is none": (b"\x0f\x20\xc8", (6,)),
    "a reserved extension": (b"\xff\xff", (6,)),
    "an opcode that is none": (b"\x0f\xff", (6,)),
    "LEA of a register": (b"\x8d\xc0", (6,)),
    "PUSH ES": (b"\x06", (6,)),
}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("name", UNENCODABLE)
def test_it_is_undefined_at_its_place(name: str, technique: str) -> None:
    code, vectors = UNENCODABLE[name]
    outcome, _ = run_flat(b"\x90" + code, technique, timeout=20)
    assert (outcome.why, outcome.rip) == (TRIPLE, BASE + 1)
    assert outcome.code.startswith(code[:15])
    assert any(outcome.detail.startswith(f"vector {vector} ") for vector in vectors)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_an_instruction_cut_off_by_the_end_of_memory(technique: str) -> None:
    """A jump to the last bytes of memory, where an instruction begins that has no end."""
    end = (2 << 20) - 2
    outcome, _ = run_flat(f"mov word ptr [{end:#x}], 0xb848; mov eax, {end:#x}; jmp rax", technique, timeout=20)
    assert outcome.why in (TRIPLE, UNHANDLED)
    assert outcome.rip in (end, end + 2)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_faults_nested_as_deep_as_they_go(technique: str) -> None:
    """#UD whose gate is absent, #NP whose gate is no gate, then #DF on a stack that is none."""
    text = "mov word ptr [0x5000], 0x1ff; mov qword ptr [0x5002], 0x6000; lidt [0x5000]; "
    text += "mov rax, 0xe0000080000; mov [0x6060], rax; mov rax, 0x8e0000080000; mov [0x6080], rax; "
    begin = assemble(f"{text} mov rsp, 0x100000000000")
    outcome, _ = run_flat(begin + b"\x0f\x0b", technique, timeout=20)
    assert (outcome.why, outcome.rip) == (TRIPLE, BASE + len(begin))
    assert outcome.code.startswith(b"\x0f\x0b")
    assert outcome.events["double faults"] == 1


def test_a_working_guest_runs_beside_them() -> None:
    for technique in TECHNIQUES:
        assert run_flat(exit_with(5), technique, timeout=20)[0].status == 5
