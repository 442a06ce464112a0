"""Loads of segments, far transfers and IRETQ: every check of the SDM, from the guest's own GDT and LDT."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pv.exits import StopWhy
from tests.pv.engines.unicorn.guests import (
    ABSENT_CODE,
    ABSENT_DATA,
    ALWAYS,
    BASED,
    BEYOND,
    BOOT_STACK,
    CODE,
    CODE_32,
    CODE_DPL1,
    CONFORMING,
    DATA,
    END,
    EXCEPTION,
    EXECUTE_ONLY,
    FILLS,
    GDT,
    GP,
    IF,
    IOPL3,
    IRETQ,
    KERNEL_CS,
    KERNEL_SS,
    LDT_SELECTOR,
    LOW_DATA,
    NP,
    NT,
    PF,
    PV_END,
    READ_ONLY,
    SS,
    TSS_SELECTOR,
    UD,
    USER,
    USER_BASED,
    USER_CS,
    USER_SS,
    USER_STACK,
    ParavirtGuest,
    TrapGuest,
    assemble,
    to_user,
)

Trap = Callable[..., TrapGuest]
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
DONE = "mov al, 9; out 0xf4, al"


def load(segment: str, selector: int) -> str:
    return f"mov edx, {selector}; mov {segment}, dx"


def test_a_loaded_selector_is_read_back(trap: Trap) -> None:
    guest = trap(
        f"{load('ds', KERNEL_SS)}; {load('es', USER_SS)}; {load('fs', KERNEL_CS)};"
        f"mov bx, ds; mov cx, es; mov si, fs; {DONE}"
    )
    outcome = guest.run()
    assert outcome.status == 9
    assert (guest.vcpu.rbx, guest.vcpu.rcx, guest.vcpu.rsi) == (KERNEL_SS, USER_SS, KERNEL_CS)
    assert [guest.vcpu.selector(number) for number in (3, 0, 4)] == [KERNEL_SS, USER_SS, KERNEL_CS]
    assert outcome.exits["SEGMENT_LOAD"] == 3


@pytest.mark.parametrize("segment", ["ds", "es", "fs", "gs"])
@pytest.mark.parametrize(
    ("selector", "vector", "error"),
    [
        (BEYOND, GP, BEYOND), (0xFFF8, GP, 0xFFF8), (TSS_SELECTOR, GP, TSS_SELECTOR), (EXECUTE_ONLY, GP, EXECUTE_ONLY),
        (ABSENT_DATA, NP, ABSENT_DATA), (KERNEL_SS | 3, GP, KERNEL_SS), (KERNEL_SS | 1, GP, KERNEL_SS),
        (KERNEL_CS | 3, GP, KERNEL_CS), (4 | 8, GP, 12),
    ],
)  # fmt: skip
def test_a_data_segment_refused(unmodified: Trap, segment: str, selector: int, vector: int, error: int) -> None:
    guest = unmodified(load(segment, selector))
    before = guest.vcpu.selector(SEGMENTS.index(segment))
    assert guest.run().status == vector
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip) == (error, CODE + 5)
    assert guest.vcpu.selector(SEGMENTS.index(segment)) == before


@pytest.mark.parametrize("selector", [READ_ONLY, KERNEL_CS, CONFORMING, CONFORMING | 3, USER_SS, LOW_DATA, 0, 3])
def test_a_data_segment_taken(unmodified: Trap, selector: int) -> None:
    guest = unmodified(f"{load('gs', selector)}; {DONE}")
    assert guest.run().status == 9
    assert guest.vcpu.selector(5) == selector


@pytest.mark.parametrize(
    ("selector", "vector", "error"),
    [
        (KERNEL_SS | 3, GP, KERNEL_SS), (USER_SS, GP, USER_SS & ~3), (READ_ONLY, GP, READ_ONLY),
        (KERNEL_CS, GP, KERNEL_CS), (ABSENT_DATA, SS, ABSENT_DATA), (BEYOND, GP, BEYOND),
        (TSS_SELECTOR, GP, TSS_SELECTOR), (LOW_DATA | 1, GP, LOW_DATA),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["mov", "lss"])
def test_a_stack_segment_refused(unmodified: Trap, selector: int, vector: int, error: int, how: str) -> None:
    lss = assemble(f"mov ebx, {DATA}", CODE) + b"\x0f\xb2\x23"  # lss esp, [rbx]
    pointer = (0x9000).to_bytes(4, "little") + selector.to_bytes(2, "little")
    guest = unmodified(load("ss", selector) if how == "mov" else lss, {DATA: pointer})
    assert guest.run().status == vector
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip, frame.rsp, frame.ss) == (error, CODE + 5, BOOT_STACK, KERNEL_SS)


def test_lss_loads_both(unmodified: Trap) -> None:
    code = assemble(f"mov ebx, {DATA}", CODE) + b"\x0f\xb2\x23" + assemble("int 0x40")
    guest = unmodified(code, {DATA: (0x9000).to_bytes(4, "little") + KERNEL_SS.to_bytes(2, "little")})
    assert guest.run().status == 0x40
    assert (guest.frame().rsp, guest.frame().ss) == (0x9000, KERNEL_SS)


@pytest.mark.parametrize("segment", ["fs", "gs"])
def test_the_base_of_fs_and_gs_after_a_load(unmodified: Trap, segment: str) -> None:
    guest = unmodified(f"{load(segment, BASED)}; {DONE}")
    assert guest.run().status == 9
    assert getattr(guest.vcpu, f"{segment}_base") == 0x12345000


@pytest.mark.parametrize("segment", ["fs", "gs"])
def test_a_null_selector_clears_the_base(unmodified: Trap, segment: str) -> None:
    guest = unmodified(f"xor edx, edx; mov {segment}, dx; {DONE}")
    setattr(guest.vcpu, f"{segment}_base", 0x1234)
    outcome = guest.run()
    assert outcome.status == 9
    assert getattr(guest.vcpu, f"{segment}_base") == 0
    assert outcome.exits["SEGMENT_LOAD"] == 0  # a null selector loads without a trap


def test_the_base_is_used_and_ds_has_none(unmodified: Trap) -> None:
    through_fs = "mov rax, 0xffffffffedcbb000; mov rsi, fs:[rbx + rax]"  # what undoes the base
    guest = unmodified(
        f"{load('fs', BASED)}; {load('ds', BASED)}; mov ebx, {DATA}; mov rcx, [rbx]; {through_fs}; {DONE}",
        {DATA: (77).to_bytes(8, "little")},
    )
    assert guest.run().status == 9
    assert (guest.vcpu.rcx, guest.vcpu.rsi) == (77, 77)


def test_cpl_3_loads_its_own_segments(unmodified: Trap) -> None:
    user = f"{load('fs', USER_BASED | 3)}; {load('ds', USER_SS)}; {load('es', KERNEL_SS)}"
    guest = unmodified(to_user() + IRETQ, {USER: user})
    assert guest.run().status == GP
    assert guest.vcpu.fs_base == 0x54321000
    frame = guest.frame(error=True)
    assert (frame.error, frame.cs) == (KERNEL_SS, USER_CS)


def test_the_ldt(unmodified: Trap) -> None:
    guest = unmodified(
        f"mov eax, {LDT_SELECTOR}; lldt ax; {load('ds', 8 | 4)}; {load('fs', 16 | 4)}; {load('gs', 32 | 4)}"
    )
    assert guest.run().status == GP
    assert guest.frame(error=True).error == 32 | 4
    assert (guest.vcpu.selector(3), guest.vcpu.fs_base) == (12, 0x777000)


def test_a_load_sets_the_accessed_bit(unmodified: Trap) -> None:
    guest = unmodified(f"{load('gs', BASED)}; {DONE}")
    assert guest.word(GDT + BASED + 5, 1) == 0x92
    guest.run()
    assert guest.word(GDT + BASED + 5, 1) == 0x93


@pytest.mark.parametrize(("base", "vector"), [(0x55555000, PF), (1 << 47, GP), (0xFFFF_FFFF_FFFF_FFFC, GP)])
def test_a_gdt_in_no_memory(trap: Trap, base: int, vector: int) -> None:
    guest = trap(load("ds", KERNEL_SS))
    guest.vcpu.virtual.gdt_base = base
    outcome = guest.run()
    assert outcome.why is StopWhy.SHUTDOWN  # no gate can be entered either
    assert outcome.events["double faults"] == 1
    assert guest.vcpu.virtual.cr2 == (base + KERNEL_CS if vector == PF else guest.vcpu.virtual.cr2)


def test_a_gdt_that_is_not_mapped_where_the_descriptor_lies(unmodified: Trap) -> None:
    guest = unmodified(load("ds", KERNEL_SS))
    guest.memory.write(0x6FF0, guest.memory.read(GDT, 16))  # null and code in one page, data in the next
    guest.vcpu.virtual.gdt_base = 0x6FF0
    guest.protect(0x7000, clear=1)
    assert guest.run().status == PF
    assert guest.frame(error=True)[:2] == (0, CODE + 5)
    assert guest.vcpu.virtual.cr2 == 0x7000


def far(mnemonic: bytes, selector: int, offset: int = DATA) -> tuple[bytes, dict[int, bytes]]:
    """Code of a far transfer through memory at USER, of 64 bits, and that memory."""
    code = assemble(f"mov ebx, {USER}", CODE) + mnemonic
    return code, {USER: offset.to_bytes(8, "little") + selector.to_bytes(2, "little"), DATA: assemble(DONE, DATA)}


JMP, CALL = b"\x48\xff\x2b", b"\x48\xff\x1b"


@pytest.mark.parametrize("mnemonic", [JMP, CALL])
@pytest.mark.parametrize(
    ("selector", "offset", "vector", "error"),
    [
        (0, DATA, GP, 0), (3, DATA, GP, 0), (BEYOND, DATA, GP, BEYOND), (KERNEL_SS, DATA, GP, KERNEL_SS),
        (USER_CS, DATA, GP, USER_CS & ~3), (KERNEL_CS | 3, DATA, GP, KERNEL_CS), (ABSENT_CODE, DATA, NP, ABSENT_CODE),
        (CODE_DPL1, DATA, GP, CODE_DPL1), (CODE_32, DATA, GP, CODE_32), (TSS_SELECTOR, DATA, GP, TSS_SELECTOR),
        (KERNEL_CS, 1 << 47, GP, 0),
    ],
)  # fmt: skip
def test_a_far_transfer_refused(
    trap: Trap, mnemonic: bytes, selector: int, offset: int, vector: int, error: int
) -> None:
    guest = trap(*far(mnemonic, selector, offset))
    assert guest.run().status == vector
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip, frame.rsp, frame.cs) == (error, CODE + 5, BOOT_STACK, KERNEL_CS)


@pytest.mark.parametrize("selector", [KERNEL_CS, EXECUTE_ONLY, CONFORMING, CONFORMING | 3])
def test_a_far_jump_taken(trap: Trap, selector: int) -> None:
    guest = trap(*far(JMP, selector))
    outcome = guest.run()
    assert (outcome.status, outcome.exits["FAR_TRANSFER"]) == (9, 1)
    assert guest.vcpu.selector(1) & ~3 == selector & ~3
    assert guest.vcpu.cpl == 1


def test_a_far_call_and_its_return(trap: Trap) -> None:
    code, pieces = far(CALL, EXECUTE_ONLY)
    pieces[DATA] = assemble("mov rcx, [rsp]; mov rdx, [rsp + 8]", DATA) + b"\x48\xcb"
    guest = trap(code + assemble(DONE), pieces)
    outcome = guest.run()
    assert (outcome.status, guest.vcpu.rsp) == (9, BOOT_STACK)
    assert (guest.vcpu.rcx, guest.vcpu.rdx) == (CODE + len(code), KERNEL_CS)
    assert outcome.by_key["FAR_TRANSFER", "CALL"] == outcome.by_key["FAR_TRANSFER", "RET"] == 1


def retfq(rip: int, cs: int, rsp: int = USER_STACK, ss: int = USER_SS, release: int = 0) -> bytes:
    """Push a frame for RETFQ to an outer ring, and execute it."""
    pushes = "".join(f"mov rax, {value}; push rax; " for value in (ss, rsp))
    filler = f"sub rsp, {release};" if release else ""
    code = assemble(f"{pushes}{filler}mov rax, {cs}; push rax; mov rax, {rip}; push rax", CODE)
    return code + (b"\x48\xca" + release.to_bytes(2, "little") if release else b"\x48\xcb")


@pytest.mark.parametrize("release", [0, 24])
def test_retfq_outward_to_cpl_3(unmodified: Trap, release: int) -> None:
    guest = unmodified(retfq(USER, USER_CS, release=release), {USER: "int 0x80"})
    guest.gate(0x80, dpl=3)
    guest.vcpu.load_segment(3, KERNEL_SS)
    guest.vcpu.load_segment(0, USER_SS)
    assert guest.run().status == 0x80
    frame = guest.frame()
    assert (frame.rip, frame.cs, frame.rsp, frame.ss) == (USER + 2, USER_CS, USER_STACK + release, USER_SS)
    assert (guest.vcpu.selector(3), guest.vcpu.selector(0)) == (0, USER_SS)  # DS of DPL 0 does not survive


@pytest.mark.parametrize(
    ("cs", "ss", "rip", "vector", "error"),
    [
        (0, USER_SS, USER, GP, 0), (BEYOND | 3, USER_SS, USER, GP, BEYOND),
        (KERNEL_CS | 3, USER_SS, USER, GP, KERNEL_CS),
        (USER_CS, 0, USER, GP, 0), (USER_CS, KERNEL_SS, USER, GP, KERNEL_SS),
        (USER_CS, KERNEL_SS | 3, USER, GP, KERNEL_SS),
        (USER_CS, BEYOND | 3, USER, GP, BEYOND), (USER_CS, USER_CS, USER, GP, USER_CS & ~3),
        (USER_CS, USER_SS, 1 << 47, GP, 0),
        (KERNEL_CS | 1, USER_SS, USER, GP, KERNEL_CS), (USER_CS & ~3, USER_SS, USER, GP, USER_CS & ~3),
        (KERNEL_SS, USER_SS, USER, GP, KERNEL_SS), (ABSENT_CODE, USER_SS, USER, NP, ABSENT_CODE),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["iretq", "retfq"])
def test_a_return_refused(trap: Trap, cs: int, ss: int, rip: int, vector: int, error: int, how: str) -> None:
    code = retfq(rip, cs, ss=ss) if how == "retfq" else assemble(to_user(rip, cs=cs, ss=ss) + IRETQ)
    guest = trap(code)
    assert guest.run().status == vector
    frame = guest.frame(error=True)
    assert (frame.error, frame.rip, frame.cs) == (error, CODE + len(code) - 2, KERNEL_CS)
    assert guest.vcpu.cpl == 1


@pytest.mark.parametrize("how", ["iretq", "retfq"])
def test_a_stack_segment_that_is_not_present(trap: Trap, how: str) -> None:
    code = retfq(USER, USER_CS, ss=USER_SS) if how == "retfq" else assemble(to_user() + IRETQ)
    guest = trap(code)
    guest.memory.write_uint(GDT + (USER_SS & ~3) + 5, 1, 0x73)
    assert guest.run().status == SS
    assert guest.frame(error=True)[:2] == (USER_SS & ~3, CODE + len(code) - 2)


def test_a_return_sets_the_accessed_bits(trap: Trap) -> None:
    guest = trap(to_user() + IRETQ, {USER: "ud2"})
    for selector, access in ((USER_SS, 0xF2), (USER_CS, 0xFA)):
        guest.memory.write_uint(GDT + (selector & ~3) + 5, 1, access)
    assert guest.run().status == UD
    assert [guest.word(GDT + (selector & ~3) + 5, 1) for selector in (USER_SS, USER_CS)] == [0xF3, 0xFB]


def test_iretq_within_the_kernel_may_have_a_null_ss(unmodified: Trap) -> None:
    guest = unmodified(to_user(DATA, cs=KERNEL_CS, ss=0) + IRETQ, {DATA: "int 0x40"})
    assert guest.run().status == 0x40
    assert guest.frame() == (None, DATA + 2, KERNEL_CS, 0x202, USER_STACK, 0)


@pytest.mark.parametrize("how", ["iretq", "retfq"])
def test_a_return_from_cpl_3_gains_nothing(unmodified: Trap, how: str) -> None:
    user = assemble(
        f"mov rax, {KERNEL_SS}; push rax; push {USER_STACK}; push 2; push {KERNEL_CS}; mov eax, {DATA}; push rax", USER
    )
    if how == "retfq":
        user = assemble(f"push {KERNEL_CS}; mov eax, {DATA}; push rax", USER) + b"\x48\xcb"
    else:
        user += b"\x48\xcf"
    guest = unmodified(to_user() + IRETQ, {USER: user, DATA: "cli; " + DONE})
    assert guest.run().status == GP
    frame = guest.frame(error=True)
    assert (frame.error, frame.cs, frame.rip) == (KERNEL_CS, USER_CS, USER + len(user) - 2)


def test_retfq_of_cpl_3_to_a_selector_of_rpl_0_is_refused(unmodified: Trap) -> None:
    user = assemble(f"push {USER_CS & ~3}; mov eax, {DATA}; push rax", USER) + b"\x48\xcb"
    guest = unmodified(to_user() + IRETQ, {USER: user, DATA: "ud2"})
    assert guest.run().status == GP
    assert guest.frame(error=True)[:2] == (USER_CS & ~3, USER + len(user) - 2)


@pytest.mark.parametrize("how", ["iretq", "retfq"])
def test_a_return_within_cpl_3(unmodified: Trap, how: str) -> None:
    there = USER + 0x100
    if how == "iretq":
        user = to_user(there, flags=ALWAYS | IF | IOPL3 | 1) + IRETQ
    else:
        user = assemble(f"push {USER_CS}; mov eax, {there}; push rax", USER) + b"\x48\xcb"  # type: ignore[assignment]
    guest = unmodified(to_user(flags=ALWAYS | IF) + IRETQ, {USER: user, there: "ud2"})
    assert guest.run().status == UD
    frame = guest.frame()
    assert (frame.rip, frame.cs) == (there, USER_CS)
    assert frame.rflags & (IF | IOPL3) == IF  # IOPL is the kernel's alone


def test_iretq_with_nt_is_refused(unmodified: Trap) -> None:
    code = f"{to_user()} push {NT | 2}; popfq; iretq"
    guest = unmodified(code)
    assert guest.run().status == GP
    assert guest.frame(error=True)[:2] == (0, CODE + len(assemble(code)) - 2)


@pytest.mark.parametrize("rsp", [0x55555000, 0x80000 - 16])
def test_iretq_from_a_stack_that_is_not_there(unmodified: Trap, rsp: int) -> None:
    guest = unmodified(f"mov rsp, {rsp}; iretq")
    guest.gate(PF, ist=1)
    guest.protect(0x80000, clear=1)
    assert guest.run().status == PF
    assert guest.frame(error=True)[:2] == (0, CODE + len(assemble(f"mov rsp, {rsp}")))
    assert guest.vcpu.virtual.cr2 == (rsp if rsp == 0x55555000 else 0x80000)


@pytest.mark.parametrize("selector", [0, 1, 2, 3])
@pytest.mark.parametrize("how", ["mov", "mov memory", "lss"])
def test_a_null_ss_never_gives_cpl_0(trap: Trap, selector: int, how: str) -> None:
    loads = {
        "mov": assemble("mov ss, dx"), "mov memory": b"\x8e\x13", "lss": b"\x0f\xb2\x23",
    }  # fmt: skip
    code = (
        assemble(f"mov edx, {selector}; mov ebx, {DATA + (4 if how == 'mov memory' else 0)}", CODE)
        + loads[how]
        + assemble(f"cli; mov cx, ss; {DONE}")
    )
    guest = trap(code, {DATA: (0x9000).to_bytes(4, "little") + selector.to_bytes(2, "little")})
    outcome = guest.run()
    assert (outcome.status, outcome.events["ring held"]) == (9, 1)
    assert outcome.by_key["INTERRUPT_FLAG", "CLI"] == 1  # still trapped
    assert {entry.cpl for entry in guest.vcpu.flight_record()} == {1}


def test_a_thousand_attempts_at_one_site(trap: Trap) -> None:
    guest = trap(f"mov ecx, 1000; xor edx, edx; again: mov ss, dx; cli; dec ecx; jnz again; {DONE}")
    outcome = guest.run()
    assert (outcome.status, outcome.events["ring held"]) == (9, 1000)
    assert {kind: n for kind, n in outcome.by_key.items() if kind != FILLS} == {("INTERRUPT_FLAG", "CLI"): 1000, **END}
    assert {entry.cpl for entry in guest.vcpu.flight_record()} == {1}


def test_a_null_ss_at_cpl_3_is_refused(trap: Trap) -> None:
    guest = trap(to_user() + IRETQ, {USER: "xor edx, edx; mov ss, dx"})
    outcome = guest.run()
    assert (outcome.status, outcome.events["ring held"]) == (GP, 0)
    assert guest.frame(error=True)[:3] == (0, USER + 2, USER_CS)


def test_a_null_ss_under_paravirt_gains_nothing(paravirt: Callable[..., ParavirtGuest]) -> None:
    guest = paravirt("mov ecx, 1000; xor edx, edx; again: mov ss, dx; dec ecx; jnz again; cli")
    outcome = guest.run()
    assert (outcome.status, outcome.events["ring held"]) == (GP, 1000)
    assert outcome.by_key == {(EXCEPTION, "#GP"): 1, **PV_END}
