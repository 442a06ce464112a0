"""The kernel's page tables: text cannot be written, data cannot be executed, CPL 3 reaches what it was given."""

from __future__ import annotations

from guest_sdk.builder import Guest
from tests.guest_sdk.workloads.checks import run
from unmodified_guests.machine import begin, finish
from unmodified_guests.paging import NO_EXECUTE, add_window, let_user

PAGE_FAULT = 14
PRESENT, WRITE, FETCH = 1, 2, 16  # of its error code

HANDLER = """
handler:
    pop rax
    mov rcx, kept
    mov rsp, [rcx]
    jmp print_result
"""


def outcome_of(guest: Guest, job: str) -> int:
    """The result: what `job` leaves in RAX, or the error code of its page fault."""
    guest.bss("kept", 8)
    text = f"work:\nmov [kept], rsp\n{job}\njmp print_result\n{HANDLER}"
    return int(run(finish(guest, 1, text, {PAGE_FAULT: "handler"}), "trap").console.removeprefix("result "))


def test_text_cannot_be_written() -> None:
    assert outcome_of(begin("probe", 1), "mov byte ptr [work], 0x90") == PRESENT | WRITE


def test_data_cannot_be_executed() -> None:
    guest = begin("probe", 1).data("code", b"\xc3")
    assert outcome_of(guest, "mov rax, code\ncall rax") == PRESENT | FETCH


def test_memory_beyond_2_mib_is_mapped_to_itself() -> None:
    assert outcome_of(begin("probe", 1), "mov ecx, 0x500000\nmov dword ptr [rcx], 77\nmov eax, [rcx]") == 77


def test_there_is_nothing_beyond_a_gib() -> None:
    assert outcome_of(begin("probe", 1), "mov ecx, 0x40000000\nmov eax, [rcx]") == 0


def test_the_window_takes_entries() -> None:
    guest = begin("probe", 1)
    add_window(guest)
    job = f"""
        mov ecx, 0x500000
        mov dword ptr [rcx], 78
        mov rax, {NO_EXECUTE | 0x500003:#x}
        mov [window_table + 8], rax
        mov ecx, 0x40001000
        mov eax, [rcx]
    """
    assert outcome_of(guest, job) == 78


def test_user_pages_are_marked() -> None:
    guest = begin("probe", 1)
    guest.bss("shared", 2 * 4096, align=4096)
    guest.asm(let_user("shared", 2))
    job = "mov rcx, page_table + (shared >> 12) * 8\nmov rax, [rcx]\nand rax, [rcx + 8]\nand rax, 4"
    assert outcome_of(guest, job) == 4


def test_other_pages_are_not() -> None:
    job = "mov rcx, page_table + (kept >> 12) * 8\nmov rax, [rcx]\nand rax, 4"
    assert outcome_of(begin("probe", 1), job) == 0
