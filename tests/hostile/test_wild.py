"""Wild addresses, mutated kernels, tables in nonsense places: each run has an outcome and keeps to its memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pv.engines.base import Vcpu
from pv.exits import StopWhy
from pv.machine import Machine
from tests.fuzz.runner import Between
from tests.pv.engines.unicorn_memory import paging_guest as guest
from tests.pv.engines.unicorn_memory.machines import BASE, assemble, exit_with, machine
from tests.pv.engines.unicorn_memory.paging_program import ROOTS, Program
from tests.pv.engines.unicorn_memory.test_shadow import load

TIMEOUT_S, MAX_EXITS = 0.05, 3000
TECHNIQUES = ("trap", "paravirt", "hardware")
FUZZED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine's memory stands between canaries."""
    monkeypatch.setattr("pv.machine.GuestMemory", Between)


def survive(made: Machine) -> StopWhy:
    """Run until something ends it; the machine must tell its whole story afterwards."""
    outcome = made.run(timeout=TIMEOUT_S, max_exits=MAX_EXITS)
    assert outcome.summary
    assert made.vcpu.cpl in (0 if made.technique.name == "hardware" else 1, 3) or outcome.why is StopWhy.ESCAPED
    assert len(outcome.record) <= 64
    return outcome.why


@FUZZED
@given(seed=st.integers(0, 1 << 64))
@pytest.mark.usefixtures("canaries")
def test_a_working_guest_mutated(seed: int) -> None:
    """Flipped bits in the code, tables, descriptors and steps of a guest that works."""
    choose = random.Random(seed)
    with load(Program(random.Random(seed)).build(60)) as made:
        places = [BASE, BASE + 0x1000, guest.IDT, guest.GDT, guest.TSS, guest.FIXED_TABLES, guest.STEPS, ROOTS[0] << 12]
        for _ in range(choose.randrange(1, 30)):
            at = choose.choice(places) + int(choose.paretovariate(0.3)) % 4096
            made.memory.write_uint(at, 1, made.memory.read_uint(at, 1) ^ 1 << choose.randrange(8))
        survive(made)


@pytest.mark.usefixtures("canaries")
@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    "text",
    [
        "mov rax, 0x7777777000; jmp rax",
        "mov rax, 0x8000000000000000; jmp rax",
        "mov rax, 0xffffffffffffffff; jmp rax",
        "mov rax, 0xffffffffffffffff; mov rbx, [rax]",
        "mov rax, 0xfffffffffffffffc; mov [rax], rbx",
        "mov rax, 0x7fffffffffff; mov rbx, [rax]",
        "mov rax, 0x7ffffffffffc; call rax",
        "mov rsp, 0; push rax",
        "mov rsp, 4; push rax",
        "mov rsp, 0x8000000000000000; push rax",
        "mov rsp, 0xffffffffffffffff; call next; next: ud2",
        "mov rsp, 0xdead000; ud2",
        "mov rsp, 0x1000000000; int 3",
        "mov rdi, 0xfffffffffffff000; mov ecx, 0x2000; rep stosb",
        "mov rsi, 0x7ffffffff000; mov rdi, 0x200000; mov ecx, 0x2000; rep movsb",
        "mov rax, 0x1000000000; mov rbx, [rax]",
        "mov rax, 0x1000000000; mov [rax], rbx",
        "mov rax, 0x1000000000; jmp rax",
        "lgdt [0xffffffffffffffff]",
        "lidt [0x7ffffffffff8]",
        "mov eax, 0xfffffff0; mov cr3, rax; nop",
        "mov rax, 0xfffffffff000; mov cr3, rax; nop",
        "mov eax, 0x100000; mov cr3, rax; nop",
        "xor eax, eax; mov cr3, rax; nop",
        "fxsave [0x7fffffffff00]",
        "clts; fninit; mov rax, 0xfffffffffffffff0; movups [rax + 8], xmm0",
        "enter 0xffff, 31",
        "iretq",
        "mov rsp, 0xfffffffffffffff0; iretq",
        "xor eax, eax; mov ss, eax; cli; hlt",
    ],
)
def test_wild_addresses(text: str, technique: str) -> None:
    with machine(text, technique, memory="2MiB") as made:
        assert survive(made) not in (StopWhy.EXITED, StopWhy.ENGINE_ERROR, StopWhy.ESCAPED)


def test_code_that_rewrites_itself_runs_as_written() -> None:
    begin = assemble("mov ecx, 1000; xor eax, eax")
    added = BASE + len(begin) + 9  # the immediate of ADD EAX, imm8 below
    loop = b"\xfe\x04\x25" + added.to_bytes(4, "little") + b"\x83\xc0\x10" + assemble("dec ecx")
    again = b"\x75" + (-len(loop) - 2).to_bytes(1, "little", signed=True)
    with machine(begin + loop + again + assemble(f"mov ebx, eax; {exit_with(4)}"), memory="2MiB") as made:
        assert made.run(timeout=30).status == 4
        assert made.vcpu.rbx == sum((0x10 + count + 128) % 256 - 128 for count in range(1, 1001)) & 0xFFFFFFFF


ROOT = 0x500000


def own_tables(entries: dict[int, int], steps: list[tuple[int, int, int]]) -> Machine:
    """A guest that loads ROOT, whose entries 0 and 1 are sound and the others as given, and does `steps`."""
    made = guest.prepare(steps, ROOT)
    for index, entry in enumerate(guest.fixed_entries()):
        made.memory.write_uint(ROOT + index * 8, 8, entry)
    for at, entry in entries.items():
        made.memory.write_uint(at, 8, entry)
    return made


def test_tables_that_point_at_themselves() -> None:
    window = 0xFFFF_FF7F_BFDF_E000 | 0x1FF << 12  # entry 510 at every level but the last
    itself = {ROOT + index * 8: ROOT | 0x67 for index in (510, 511)}
    steps = [
        (kind, (1 << 64) - 4096 + offset, ROOT | 0x67) for kind in (guest.READ, guest.WRITE) for offset in (0xFF8, 0x10)
    ]
    with own_tables(itself, [*steps, (guest.EXECUTE, window, 0), (guest.USER_READ, window, 0)]) as made:
        assert made.run(timeout=5, max_exits=MAX_EXITS).why in (StopWhy.HALTED, StopWhy.SHUTDOWN, StopWhy.MAX_EXITS)
        assert made.memory.read_uint(ROOT + 0x10, 8) & ~0x60 == ROOT | 7


def test_a_stack_page_that_is_a_page_table() -> None:
    """The kernel's stack in the very table that maps it: each push is a write to a shadowed table."""
    table = 0x510000
    entries = {ROOT + 16: table | 0x67, table: table | 0x67}  # the window's page 0 is the table itself, at every level
    text = f"""
        mov rax, {ROOT}
        mov cr3, rax
        mov rsp, {(2 << 39) + 0x1000}
        mov ebx, 200
    again:
        push rbx
        pop rcx
        call next
    next:
        pop rdx
        dec ebx
        jnz again
        cli
        hlt
    """
    with own_tables(entries, []) as made:
        made.memory.write(BASE, assemble(text))
        assert made.run(timeout=5, max_exits=MAX_EXITS).why is StopWhy.HALTED
        assert made.vcpu.rcx == 1


def test_a_fault_frame_pushed_onto_its_own_tables_has_an_outcome() -> None:
    entries = {guest.TSS + 4: guest.FIXED_TABLES + 0x5000}
    for top in range(0, 0x40, 8):
        entries[guest.TSS + 4] = guest.FIXED_TABLES + 0x4000 + top  # the tables that map the kernel
        with own_tables(
            entries, [(guest.USER_READ, 5 << 39, 0), (guest.LOAD_CR3, ROOT, 0), (guest.READ, 0, 0)]
        ) as made:
            assert survive(made)


@pytest.mark.usefixtures("canaries")
@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("end", ["mov rdi, 0x1ffff0", "mov rdi, 0xfff8; std"])
def test_a_store_that_runs_off_either_end_of_memory(technique: str, end: str) -> None:
    with machine(f"mov ecx, 0x300000; mov al, 0xcc; {end}; rep stosb", technique, memory="2MiB") as made:
        made.memory.write(BASE + 0x400, b"\x90")
        assert survive(made) not in (StopWhy.EXITED, StopWhy.ENGINE_ERROR)
        assert made.memory.read(0x1FFFF0 if "std" not in end else 0xF000, 16) == b"\xcc" * 16


def test_a_handler_given_wild_values_answers_with_a_refusal() -> None:
    with machine("hlt", "paravirt", memory="2MiB") as made:
        vcpu: Vcpu = made.vcpu
        for value in (-1, 1 << 64, 256):
            with pytest.raises((ValueError, OverflowError, TypeError)):
                vcpu.set_trap(value, 0, 0)
        with pytest.raises(IndexError):
            vcpu.get(16)
        with pytest.raises(IndexError):
            vcpu.selector(6)
