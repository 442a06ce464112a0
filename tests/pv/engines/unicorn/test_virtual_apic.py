"""Which instructions reach the APIC's registers without an exit: every form of a 32-bit MOV, and no other."""

from __future__ import annotations

from typing import Final

import pytest

from tests.pv.engines.unicorn.apic_guests import (
    APIC,
    ICR_HIGH,
    ON,
    PAGE,
    TPR,
    apic_guest,
    put,
    start_exits,
    virtualized,
)
from tests.pv.engines.unicorn.guests import DATA, IRETQ, USER, assemble, to_user

VALUE: Final = 0x35
SETUP: Final = (
    f"mov eax, {VALUE}; mov r9d, eax; mov r12d, 8; mov r15, rbx; mov rbp, rbx; mov edx, 0x80; "  # what operands need
    "mov rdi, -1; mov r10, rdi; "  # what a load is to change
)


def run(code: str | bytes) -> tuple[int, tuple[int, int], int, int, dict[tuple[str, str], int]]:
    """(TPR afterwards, what was virtualized, RDI, R10, exits but those of the end) of `code` behind SETUP."""
    text = code if isinstance(code, str) else f".byte {', '.join(map(str, code))}"
    with apic_guest(f"{SETUP} {text}; nop", {}, ON) as made:
        outcome = made.run()
        assert outcome.status == 0xEE, outcome.summary
        exits = {key: count for key, count in outcome.by_key.items() if key not in start_exits()}
        assert made.machine.pc is not None
        tpr = made.machine.pc.apic.read(TPR, 4)
        return tpr, virtualized(outcome), made.vcpu.get(7), made.vcpu.get(10), exits


@pytest.mark.parametrize(
    "code",
    [
        "mov [rbx + 0x80], eax", "mov [rbx + rdx], eax", "mov [rbx + r12*8 + 0x40], eax", "mov [r15 + 0x80], r9d",
        "mov [r15 + r12*4 + 0x60], r9d", "mov [rbp + 0x80], eax", f"mov dword ptr [rbx + 0x80], {VALUE}",
        f"mov dword ptr [r15 + rdx], {VALUE}", f"mov [{PAGE + 0x80:#x}], r9d",
        f"mov dword ptr [{PAGE + 0x80:#x}], {VALUE}",
        f"mov [rdx*1 + {PAGE}], eax", "mov [ebx + 0x80], eax", "mov ds:[rbx + 0x80], eax", "mov fs:[rbx + 0x80], eax",
        b"\x40\x89\x83\x80\x00\x00\x00", b"\x2e\x67\x89\x83\x80\x00\x00\x00",
    ],
)  # fmt: skip
def test_a_store_of_32_bits_is_carried_out(code: str | bytes) -> None:
    assert run(code) == (VALUE, (1, 0), (1 << 64) - 1, (1 << 64) - 1, {})


@pytest.mark.parametrize("code", ["mov edi, [rbx + 0x30]", "mov r10d, [r15 + 0x30]", f"mov edi, [{PAGE + 0x30:#x}]",
                                  "mov r10d, [rbx + r12*4 + 0x10]"])  # fmt: skip
def test_a_load_of_32_bits_clears_the_upper_half(code: str) -> None:
    tpr, carried_out, rdi, r10, exits = run(code)
    assert (tpr, carried_out, exits) == (0, (1, 0), {})
    assert sorted((rdi, r10)) == [0x50014, (1 << 64) - 1]


@pytest.mark.parametrize(
    ("code", "tpr"),
    [
        ("mov [rbx + 0x80], al", 0), ("mov [rbx + 0x80], ax", 0), ("mov [rbx + 0x80], rax", VALUE),
        ("mov [rbx + 0x81], eax", 0), ("mov [rbx + 0x84], eax", 0), ("or [rbx + 0x80], eax", VALUE),
        ("xchg [rbx + 0x80], r9d", VALUE), ("lock or [rbx + 0x80], eax", VALUE), ("mov dil, [rbx + 0x30]", 0),
        ("movzx edi, byte ptr [rbx + 0x30]", 0), ("mov rdi, [rbx + 0x30]", 0), ("mov edi, [rbx + 0x31]", 0),
        ("test [rbx + 0x30], eax", 0), ("cmp dword ptr [rbx + 0x80], 0", 0),
    ],
)  # fmt: skip
def test_all_other_accesses_exit_and_do_what_they_do(code: str, tpr: int) -> None:
    seen, carried_out, _rdi, _r10, exits = run(code)
    assert (seen, carried_out) == (tpr, (0, 0))
    assert sum(exits.values()) == 1
    assert next(iter(exits))[0] == "MMIO"


@pytest.mark.parametrize("code", ["mov cr8, rdx", "mov cr8, r12", b"\x49\x0f\x22\xc4", b"\x4d\x0f\x22\xc4"])
def test_mov_to_cr8_by_every_register(code: str | bytes) -> None:
    body = code if isinstance(code, bytes) else assemble(code)
    written = 7 if b"\x22\xc2" in body else 8
    with apic_guest(f"mov edx, 7; mov r12d, 8; .byte {', '.join(map(str, body))}; mov r13, cr8", {}, ON) as made:
        outcome = made.run()
        if body == b"\x49\x0f\x22\xc4":  # without REX.R it is CR0, which no virtualization of the APIC takes
            assert (outcome.status, virtualized(outcome)) == (13, (0, 0))
        else:
            assert (outcome.by_key, made.vcpu.get(13), virtualized(outcome)) == (start_exits(), written, (1, 0))


def test_an_upper_half_of_the_command_is_kept_with_the_next() -> None:
    code = f"{put(ICR_HIGH, 0x7F123456)} mov edi, [rbx + {ICR_HIGH}]"
    tpr, carried_out, rdi, _r10, exits = run(code)
    assert (tpr, carried_out, rdi, exits) == (0, (2, 0), 0x7F000000, {})


def test_a_walk_of_page_tables_in_the_page_is_no_access() -> None:
    """The directory entry of DATA points at the APIC: a store there walks through it, and changes no register of it."""
    with apic_guest(f"mov rdi, {DATA + 0x80_0000}; mov dword ptr [rdi], {VALUE}", {}, ON) as made:
        table = made.vcpu.virtual.cr3
        for shift in (39, 30):
            table = made.word(table + 8 * (DATA + 0x80_0000 >> shift & 511)) & 0xFFFFFFFFF000
        made.memory.write_uint(table + 8 * (DATA + 0x80_0000 >> 21 & 511), 8, APIC | 7)
        outcome = made.run()
        assert outcome.status == 14, outcome.summary
        assert virtualized(outcome) == (0, 0)


def test_user_code_that_may_reach_the_page_has_it_too() -> None:
    """Paging decides who may, as on a processor."""
    user = USER + 0x800
    with apic_guest(to_user(user) + IRETQ, {}, ON) as made:
        made.memory.write_uint(made.page_entry(PAGE), 8, APIC | 0x1F)
        made.memory.write(user, assemble(f"mov dword ptr [rbx + 0x80], {VALUE}; ud2", user))
        outcome = made.run()
        assert (outcome.status, virtualized(outcome)) == (6, (1, 0))
