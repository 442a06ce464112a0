"""address-space, paravirtual: the monitor makes the spaces and maps their pages in one batch; a switch is one call."""

from __future__ import annotations

from typing import Final

from guest_sdk.builder import Guest
from guest_sdk.work.address_space import DEFAULT_OPERATIONS, NAME, OPERATION, PRIVATE, SPACES, TEXT, frame
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

CREATE: Final = f"""
    xor ebx, ebx
    mov r12, updates
create:
    call new_space
    mov [spaces + rbx*4], eax
    mov [r12 + PAGE_UPDATE_SPACE], eax
    add r12, PAGE_UPDATE_SIZE
    inc ebx
    cmp ebx, {SPACES}
    jb create
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    guest.bss("spaces", SPACES * 4)
    guest.fields("updates", [field for space in range(SPACES) for field in update(space)])
    guest.asm(CREATE)
    guest.call.page_update("updates", SPACES)
    guest.asm("jmp work")
    guest.asm("new_space:")
    guest.call.space_create()
    guest.asm("ret")
    add_switch(guest)
    return finish(guest, operations, TEXT)


def update(space: int) -> list[tuple[int, int | str]]:
    """A page_update: the space's id is filled in when the monitor has given it."""
    return [(4, 0), (4, "MAP_PRESENT | MAP_WRITE"), (8, PRIVATE), (8, frame(space)), (8, 1)]


def add_switch(guest: Guest) -> None:
    """switch_space: RDI is the space's place in `spaces`."""
    guest.asm("switch_space:\nmov edi, [spaces + rdi*4]")
    guest.call.space_switch("rdi")
    guest.asm("ret")
