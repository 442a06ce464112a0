"""Which page tables does the kernel run on? The first GiB mapped to itself, text executable, all else no-execute.

Intel SDM vol. 3, 4.5. The guest's image lies in the first 2 MiB, which 4 KiB pages map. Rights for CPL 3 are given
by the last level alone.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest
from guest_sdk.work import PAGE

PRESENT, WRITE, USER, ACCESSED, DIRTY, LARGE = 1, 2, 4, 0x20, 0x40, 0x80
NO_EXECUTE: Final = 1 << 63
TABLE: Final = PRESENT | WRITE | USER | ACCESSED
DATA: Final = NO_EXECUTE | DIRTY | ACCESSED | WRITE | PRESENT
TEXT: Final = ACCESSED | PRESENT

EFER: Final = 0xC0000080
EFER_SCE, EFER_NXE = 1 << 0, 1 << 11
CR0_WP: Final = 1 << 16

BUILD: Final = f"""
build_tables:
    mov r8, {DATA:#x}
    mov rdi, page_table
    xor ecx, ecx
.page:
    mov rax, r8
    cmp rcx, _start
    jb .data
    cmp rcx, text_end
    jae .data
    mov eax, {TEXT:#x}
.data:
    or rax, rcx
    mov [rdi], rax
    add rdi, 8
    add rcx, {PAGE}
    cmp rcx, {512 * PAGE:#x}
    jb .page
    mov rdi, page_directory + 8
    or r8, {LARGE}
.large:
    mov rax, r8
    or rax, rcx
    mov [rdi], rax
    add rdi, 8
    add rcx, {512 * PAGE:#x}
    cmp rcx, {1 << 30:#x}
    jb .large
    mov qword ptr [page_directory], page_table + {TABLE}
    mov qword ptr [directory_pointers], page_directory + {TABLE}
    mov qword ptr [root], directory_pointers + {TABLE}
    ret

load_tables:
    mov ecx, {EFER:#x}
    rdmsr
    or eax, {EFER_SCE | EFER_NXE:#x}
    wrmsr
    mov rax, cr0
    or eax, {CR0_WP:#x}
    mov cr0, rax
    mov rax, root
    mov cr3, rax
    ret
"""


def add(guest: Guest) -> None:
    """Append `build_tables`, `load_tables` and room for the tables."""
    for label in ("root", "directory_pointers", "page_directory", "page_table"):
        guest.bss(label, PAGE, align=PAGE)
    guest.asm(BUILD)


def add_window(guest: Guest) -> None:
    """An empty `window_table` for the 2 MiB from 1 GiB on; the lines hang it in and belong after build_tables."""
    guest.bss("window_directory", PAGE, align=PAGE)
    guest.bss("window_table", PAGE, align=PAGE)
    guest.asm(f"""
    mov qword ptr [window_directory], window_table + {TABLE}
    mov qword ptr [directory_pointers + 8], window_directory + {TABLE}
    """)


def let_user(label: str, pages: int) -> str:
    """Lines that open `pages` at `label` to CPL 3; they belong after build_tables."""
    entries = [f"page_table + ({label} >> 12) * 8 + {page * 8}" for page in range(pages)]
    return "\n".join(f"or qword ptr [{entry}], {USER}" for entry in entries)
