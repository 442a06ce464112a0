"""Kernels that do to a translator what it likes least: code that moves, floods, ends nowhere, looks for the cache."""

from __future__ import annotations

import random

import pytest

from pv.exits import StopWhy
from tests.equivalence import layout
from tests.equivalence.kinds import Piece
from tests.equivalence.program import Program, Slot
from tests.equivalence.runner import Bench
from tests.fuzz.runner import Between
from tests.hostile.translated import LEAST_CACHE, TRANSLATE, same
from tests.pv.engines.unicorn.guests import (
    CODE,
    DATA,
    GP,
    PF,
    TABLES,
    TABLES_END,
    TSS,
    UD,
    TrapGuest,
    assemble,
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


def all_may_be_run(guest: TrapGuest) -> None:
    """No page is no-execute."""
    for place in range(TABLES, TABLES_END, 8):
        if guest.word(place) & 1:
            guest.memory.write_uint(place, 8, guest.word(place) & ~NX)


BLOCK = assemble(
    "mov eax, 0x90c3ff40; push rax; lea rcx, [rip + 5]; pushfq; cli; mov [rbx], rax; sti; popfq; mov edx, cs;"
    "call 0x1000a0; jz 0x1000a0; cpuid; loop 0x1000a0; add qword ptr [rbx + 8], 0x7fffffff; mov rax, cr0; ret 8",
    CODE + 0x40,
)


@pytest.mark.parametrize("first", [0, 1])
def test_a_jump_to_every_byte_of_a_block_that_has_run(first: int) -> None:
    """Before the block has run, and after it."""
    for offset in range(len(BLOCK)):
        run_it = f"mov eax, {CODE + 0x40}; call rax; " if first else ""
        text = f"mov ebx, {DATA}; push {CODE + 0xA0}; {run_it} mov eax, {CODE + 0x40 + offset}; mov ecx, 3; jmp rax"
        same(text, {CODE + 0x40: BLOCK, CODE + 0xA0: END})


def test_a_store_that_writes_the_next_store_up_to_the_end_of_its_page() -> None:
    """STOSB writes STOSB behind itself, until the next page may not be written to."""
    begin = assemble(f"mov edi, {CODE + 0x1021}; mov eax, 0xaa; jmp {CODE + 0x1020}")
    left = same(begin, {CODE + 0x1020: b"\xaa"}, lambda guest: guest.protect(CODE + 0x2000, clear=2))
    assert left.status == PF
    assert left.seen.memory[CODE + 0x1020 : CODE + 0x2000] == b"\xaa" * 0xFE0
    assert left.statistics["writes to translated code"] < 10


def test_a_block_that_is_written_anew_a_thousand_times() -> None:
    loop = "again: mov [rip + number + 1], ecx; number: mov eax, 0; add ebx, eax; loop again"
    left = same(f"mov ecx, 1000; xor ebx, ebx; {loop}; {END}")
    assert left.seen.registers["rbx"] == 1000 * 1001 // 2
    assert left.statistics["writes to translated code"] < 10


def test_two_pages_that_write_to_one_another() -> None:
    """Each changes the other's immediate and calls it; both are code and data at once."""
    other = CODE + 0x2000
    one = f"mov edx, 300; mov ebx, {other}; again: inc byte ptr [rbx + 1]; call rbx; dec edx; jnz again; {END}"
    two = f"mov eax, 0; add esi, eax; inc byte ptr [{CODE + 0x100} + 1]; call {CODE + 0x100}; ret"
    left = same(one, {other: two, CODE + 0x100: "mov eax, 0; add edi, eax; ret"})
    assert (left.seen.registers["rsi"], left.seen.registers["rdi"]) == (sum(n % 256 for n in range(1, 301)),) * 2


@pytest.mark.parametrize("how", ["invlpg [rbx]", "mov rax, cr3; mov cr3, rax"])
def test_a_page_table_that_moves_code_under_its_callers(how: str) -> None:
    """Two frames take turns at one address, 400 times."""
    page, other = CODE + 0x2000, CODE + 0x3000
    with TrapGuest("hlt") as guest:
        entry = guest.page_entry(page)
    change = f"mov rax, [{entry}]; xor rax, {page ^ other}; mov [{entry}], rax; {how}"
    text = f"mov edx, 400; mov ebx, {page}; again: call rbx; {change}; dec edx; jnz again; {END}"
    left = same(text, {page: "inc esi; ret", other: "add edi, 3; ret"})
    assert (left.seen.registers["rsi"], left.seen.registers["rdi"]) == (200, 600)


@pytest.mark.parametrize("cache_bytes", [LEAST_CACHE, 1 << 24])
def test_a_flood_of_code_pages(cache_bytes: int) -> None:
    """Every page of 6 MiB gets a function, and all are called, twice: INC, a number of its own, RET."""
    begin, pages = FREE, 1500
    write = f"mov edi, {begin}; mov ecx, {pages}; fill: mov byte ptr [rdi], 0x81; mov byte ptr [rdi + 1], 0xc6;"
    write += "mov [rdi + 2], ecx; mov byte ptr [rdi + 6], 0xc3; add rdi, 4096; loop fill;"
    calls = f"mov edx, 2; round: mov edi, {begin}; mov ecx, {pages};"
    calls += "go: call rdi; add rdi, 4096; loop go; dec edx; jnz round;"
    left = same(write + calls + END, None, all_may_be_run, memory="8MiB", cache_bytes=cache_bytes)
    assert left.seen.registers["rsi"] == pages * (pages + 1)
    assert left.statistics["blocks translated"] >= pages
    assert (left.statistics["pages evicted"] > pages) is (cache_bytes == LEAST_CACHE)


def test_a_flood_of_blocks_within_one_page() -> None:
    """A call to each byte of a page of NOPs: as many blocks as bytes, in a cache for few."""
    page = CODE + 0x3000
    text = f"mov ebx, {page + 0x3F0}; again: inc esi; call rbx; dec ebx; cmp ebx, {page}; jae again; {END}"
    left = same(text, {page: b"\x90" * 0x3F0 + b"\xc3"}, cache_bytes=LEAST_CACHE)
    assert left.seen.registers["rsi"] == 0x3F1


def test_an_instruction_across_pages_whose_second_half_changes() -> None:
    """MOV EAX, imm32 whose immediate lies on the next page: written, moved to another frame, taken away."""
    page, other = CODE + 0x3000, CODE + 0x4000
    with TrapGuest("hlt") as guest:
        entry = guest.page_entry(page)
    text = f"""
        mov ebx, {page - 1}; call rbx; mov esi, eax; inc dword ptr [rbx + 1]; call rbx; mov edi, eax
        mov rax, [{entry}]; xor rax, {page ^ other}; mov [{entry}], rax; invlpg [{page}]; call rbx; mov ebp, eax
        xor eax, eax; mov [{entry}], rax; invlpg [{page}]; call rbx
    """.replace("\n", ";")
    first, second = (0x11223344).to_bytes(4, "little"), (0x55667788).to_bytes(4, "little")
    left = same(text, {page - 1: b"\xb8" + first + b"\xc3", other: second + b"\xc3"})
    assert left.status == PF
    assert [left.seen.registers[name] for name in ("rsi", "rdi", "rbp")] == [0x11223344, 0x11223345, 0x55667788]
    frame = [
        int.from_bytes(left.seen.memory[at : at + 8], "little")
        for at in (left.seen.registers["rsp"] + 8 * n for n in (0, 1))
    ]
    assert frame == [0x10, page - 1]
    assert left.seen.registers["cr2"] == page


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_code_that_ends_where_memory_ends(size: int) -> None:
    """The last bytes of memory: a jump back that fits, and a MOV that does not."""
    end = 4 << 20
    text = f"mov ebx, {end - size}; mov byte ptr [rbx], 0xb8; call rbx"
    left = same(text, None, all_may_be_run)
    assert left.status == PF
    assert left.seen.registers["cr2"] == end


def high_page(guest: TrapGuest, gva: int, frame: int) -> None:
    """Map one page at any address of 48 bits, by tables in FREE."""
    table: int = guest.vcpu.virtual.cr3
    for level in (3, 2, 1):
        at = table + (gva >> 12 + 9 * level & 511) * 8
        if not guest.word(at) & 1:
            fresh = FREE + 0x1000 * level
            guest.memory.write(fresh, bytes(4096))
            guest.memory.write_uint(at, 8, fresh | 7)
        table = guest.word(at) & 0xFFFFFFFFF000
    guest.memory.write_uint(table + (gva >> 12 & 511) * 8, 8, frame | 7)


@pytest.mark.parametrize(
    ("gva", "code"),
    [
        (0x7FFF_FFFF_FFFE, "eb00"),  # a jump to the first address that is not canonical
        (0x7FFF_FFFF_FFFB, "e900000000"),
        (0x7FFF_FFFF_FFFB, "e800000000"),
        (0x7FFF_FFFF_FFFA, "48ffc0c39090"),
        (0xFFFF_8000_0000_0000, "48ffc0c3"),
        (0xFFFF_FFFF_FFFF_FFFC, "48ffc0c3"),  # RET at the last byte of all
        (0xFFFF_8000_0000_0000, "ebfe"[:2] + "fc"),  # a jump back into the hole
    ],
)
def test_code_at_the_ends_of_the_canonical_addresses(gva: int, code: str) -> None:
    def prepare(guest: TrapGuest) -> None:
        page = gva & -4096
        high_page(guest, page, DATA & -4096)
        guest.memory.write(DATA + (gva & 0xFFF), bytes.fromhex(code))

    same(f"mov rbx, {gva}; call rbx; {END}", None, prepare)


@pytest.mark.parametrize("length", [14, 15, 16, 17])
@pytest.mark.parametrize("body", ["90", "fa", "8b03", "eb00", "e800000000", "0fa2", "c3"])
def test_instructions_as_long_as_they_may_be_and_longer(body: str, length: int) -> None:
    code = bytes.fromhex(body).rjust(length, b"\x2e")
    left = same(
        f"mov ebx, {DATA}; push {CODE + 0xC0}; jmp {CODE + 0x80}", {CODE + 0x80: code + assemble(END), CODE + 0xC0: END}
    )
    assert left.status == (GP if length > 15 else 99)


def test_a_stack_that_lies_on_the_code_that_runs() -> None:
    """PUSH, CALL and faults write over the running page, each a store to translated code."""
    text = f"mov esp, {CODE + 0x800}; mov ecx, 50; again: push rcx; call {CODE + 0x900}; pop rax; loop again; ud2"
    left = same(text, {CODE + 0x900: "mov rbx, [rsp]; pushfq; pop rdx; ret"})
    assert left.status == UD


def test_a_fault_frame_over_the_handler_it_leads_to() -> None:
    """The stack of #UD ends in its handler's first bytes."""

    def prepare(guest: TrapGuest) -> None:
        guest.gate(UD, CODE + 0x400, ist=1)
        guest.memory.write_uint(TSS + 36, 8, CODE + 0x400 + 16)

    same("ud2", {CODE + 0x400: "nop; nop; nop; nop; " + END}, prepare)


SNIPPETS, PROGRAMS = 40, 60  # to a program, each in a slot of its own; to a test


@pytest.mark.parametrize("first", range(0, 4 * PROGRAMS, PROGRAMS))
def test_random_bytes_as_kernel_code(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wild code, some 10,000 pieces of it, comes to an end or to a budget, and every address told of is the guest's."""
    monkeypatch.setattr("tests.equivalence.runner.TIMEOUT_S", 0.02)
    bench = Bench(TRANSLATE)
    ends = []
    for seed in range(first, first + PROGRAMS):
        choose = random.Random(seed)
        slots = tuple(Slot("compute", Piece(choose.randbytes(choose.randrange(1, 20)))) for _ in range(SNIPPETS))
        registers = tuple(choose.getrandbits(32) for _ in range(16))
        seen = bench.run(Program(seed, slots, registers, choose.randbytes(layout.DATA_BYTES)))
        ends.append(seen.outcome.why)
        told = [seen.registers["rip"], *(entry.rip for entry in seen.outcome.record)]
        assert not [rip for rip in told if rip >> 39 & 511 == FIRST_SLOT], seen.outcome.summary
    bench.close()
    assert StopWhy.ENGINE_ERROR not in ends
    assert ends.count(StopWhy.EXITED) > PROGRAMS // 4
