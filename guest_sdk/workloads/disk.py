"""disk, paravirtual: a ring of block_read, 64 of them in flight.

While the monitor looks at the ring, a submission needs no call; a completion raises the port only where the guest has
said that it is about to sleep. The one block that is written and read back takes a call each way.
"""

from __future__ import annotations

from typing import Final

from guest_sdk import ring
from guest_sdk.builder import Guest
from guest_sdk.work import FREE_MEMORY, PAGE
from guest_sdk.work.disk import BLOCK, CHOOSE, DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from guest_sdk.workloads.kernel import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

IN_FLIGHT: Final = 64  # blocks, each with room of its own from FREE_MEMORY on
DISK: Final = 0
BLOCK_SHIFT: Final = BLOCK.bit_length() - 1

NEXT_BLOCK: Final = f"""
next_block:
    push rbx
    push r12
    mov r12d, edi
.fill:                          ; what was read IN_FLIGHT operations ago has been used up
    mov ebx, [submitted]
    lea eax, [r12 + {IN_FLIGHT}]
    cmp ebx, eax
    jae .filled
    cmp ebx, OPERATIONS
    jae .filled
    mov edi, ebx
    {CHOOSE}
    shl rdi, {BLOCK_SHIFT}
    mov rsi, rdi
    mov edi, {DISK}
    mov edx, ebx
    and edx, {IN_FLIGHT - 1}
    shl edx, {BLOCK_SHIFT}
    add edx, {FREE_MEMORY:#x}
    mov r10d, {BLOCK}
    mov eax, CALL_BLOCK_READ
    mov ecx, ebx                ; the token
    call ring_submit
    test eax, eax
    jnz disk_failed
    inc dword ptr [submitted]
    jmp .fill
.filled:
    call ring_kick_if_needed
    mov ebx, r12d
    and ebx, {IN_FLIGHT - 1}
.look:                          ; arrived: by slot, one more than the operation that came last
    cmp r12d, [arrived + rbx*4]
    jb .here
    call ring_reap
    test eax, eax
    jz .sleep
    cmp rcx, {BLOCK}
    jne disk_failed
    mov eax, edx
    and eax, {IN_FLIGHT - 1}
    inc edx
    mov [arrived + rax*4], edx
    jmp .look
.sleep:
    mov edi, 1
    call ring_notify_after
    mfence                      ; what completed before the monitor could see this raises nothing
    mov eax, [ring + RING_COMPLETE_HEAD]
    cmp eax, [ring + RING_COMPLETE_TAIL]
    jne .look
    call wait_for_port
    jmp .look
.here:
    mov eax, ebx
    shl eax, {BLOCK_SHIFT}
    add eax, {FREE_MEMORY:#x}
    pop r12
    pop rbx
    ret
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("events", PAGE, align=PAGE)
    guest.bss("port", 8)
    guest.bss("submitted", 4)
    guest.bss("arrived", 4 * IN_FLIGHT)
    guest.call.event_page("events", "no_upcall")
    guest.asm("jmp work")
    add_start(guest)
    add_wait(guest)
    for label, call in (("store_block", guest.call.block_write), ("load_block", guest.call.block_read)):
        guest.asm(f"{label}:\nshl rdi, {BLOCK_SHIFT}")
        call(DISK, "rdi", "rsi", BLOCK)
        guest.asm(f"cmp rax, {BLOCK}\njne disk_failed\nret")
    ring.add(guest, entries=IN_FLIGHT)
    return finish(guest, operations, NEXT_BLOCK + TEXT)


def add_start(guest: Guest) -> None:
    """start_disk: a port, and the ring that raises it when it is asked to."""
    guest.asm("start_disk:")
    guest.call.event_open()
    guest.asm("""
        mov [port], rax
        mov rdi, rax
        call ring_open
        test rax, rax
        jnz disk_failed
        xor edi, edi
        jmp ring_notify_after
    """)


def add_wait(guest: Guest) -> None:
    """wait_for_port: sleep until it is raised. Upcalls stay off, so the guest takes the event itself."""
    guest.asm("wait_for_port:")
    guest.call.event_wait()
    guest.asm("""
        mov ecx, [port]
        btr dword ptr [events + EVENT_PAGE_PENDING], ecx
        ret
    no_upcall:
        ud2
    """)
