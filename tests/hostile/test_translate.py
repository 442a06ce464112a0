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
from tests.hostile.translated import LEAST_CACHE, TRANSLATE, observed, same
from tests.pv.engines.unicorn.guests import (
    CODE,
    DATA,
    GP,
    IDT,
    PF,
    TABLES,
    TABLES_END,
    TSS,
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
    "0f1b03", "0f1a0b", "0f01ee", "0f01ef", "8cc8", "8cd0", "0f20c0", "0f0103", "a4", "aa", "a5", "62f17c4828c0", "0fae2b",
    "0fae03", "0f01ca", "0f01cb", "e000", "ea", "9a", "06", "d6", "0f3f", "0fff", "8ec8", "9b",
)  # fmt: skip
LOCKED_ALIKE = tuple(one for one in BODIES if one not in ("fa", "fb", "0fa2", "0f20c0", "0f0103"))  # see LOCKED_OUT


@pytest.mark.parametrize("body", BODIES)
def test_every_prefix_before_what_a_translator_changes(body: str) -> None:
    """MPX's instructions and those of protection keys among them."""
    for prefix in ("", *(one for one in PREFIXES if "f0" not in one or body in LOCKED_ALIKE)):
        code = bytes.fromhex(prefix + body) + assemble("nop; " + END)
        begin = (
            f"mov ebx, {DATA + 0x100}; mov edi, {DATA + 0x200}; mov esi, {DATA + 0x300}; mov ecx, 2; jmp {CODE + 0x80}"
        )
        same(begin, {CODE + 0x80: code, DATA + 0x100: (CODE + 0xC0).to_bytes(8, "little"), CODE + 0xC0: END})


@pytest.mark.parametrize("length", [14, 15, 16, 17])
@pytest.mark.parametrize("body", ["90", "fa", "8b03", "eb00", "e800000000", "0fa2", "c3"])
def test_instructions_as_long_as_they_may_be_and_longer(body: str, length: int) -> None:
    code = bytes.fromhex(body).rjust(length, b"\x2e")
    left = same(
        f"mov ebx, {DATA}; push {CODE + 0xC0}; jmp {CODE + 0x80}", {CODE + 0x80: code + assemble(END), CODE + 0xC0: END}
    )
    assert left.status == (GP if length > 15 else 99)


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


LOCKED_OUT = (
    "f0fa", "f0fb", "f0f4", "f00fa2", "f00f31", "f00f22d8", "f00f0103", "f00f010b", "f00f00c0", "f00f01e0", "f08cc8",
    "f09c", "f0c3", "f0eb00", "c5f80103", "c5f8010b", "c5f800c0", "c5f8a2", "c5f805", "c5f831",
)  # fmt: skip
XFAILS = {
    **dict.fromkeys(
        ("f00f0103", "f00f010b", "f00f00c0", "f00f01e0", "c5f80103", "c5f8010b", "c5f800c0"),
        "the run stops: an exit that is not emulated",
    ),
    "c5f805": "SYSCALL is taken to be of 2 bytes: the engine goes on a byte further in the cache",
}


@pytest.mark.parametrize("level", ["kernel", "program"])
@pytest.mark.parametrize("body", LOCKED_OUT)
def test_lock_and_vex_where_they_may_not_stand_end_no_machine(
    body: str, level: str, request: pytest.FixtureRequest
) -> None:
    """#UD, or what the processor beneath makes of it: in any case an event of the guest's."""
    code = bytes.fromhex(body) + assemble("int 0x63")
    begin = f"mov ebx, {DATA}; push {CODE + 0xC0};" + (f"jmp {USER}" if level == "kernel" else to_user() + "iretq")

    def prepare(guest: TrapGuest) -> None:
        guest.gate(0x63, dpl=3)

    if body in XFAILS:
        request.applymarker(pytest.mark.xfail(strict=True, reason=XFAILS[body]))
    seen = observed(TRANSLATE, begin, {USER: code, CODE + 0xC0: "int 0x63"}, prepare, {}).seen.outcome
    assert seen.status in (UD, GP, PF, 0x63), seen.summary


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
