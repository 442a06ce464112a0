"""disk, unmodified: an ATA disk by PIO. READ MULTIPLE, an interrupt, and REP INSW moves the block word by word.

ATA/ATAPI-7 volume 2, clause 9 (PIO data-in and data-out), and the 8259 pair: IRQ 14 is line 6 of the slave.
"""

from __future__ import annotations

from typing import Final

from guest_sdk.work import FREE_MEMORY
from guest_sdk.work.disk import BLOCK, CHOOSE, DEFAULT_OPERATIONS, NAME, OPERATION, TEXT, add_data
from unmodified_guests.chips import DISK_VECTOR, END_OF_INTERRUPT, MASTER, SLAVE
from unmodified_guests.machine import begin, finish

__all__ = ["DEFAULT_OPERATIONS", "NAME", "OPERATION", "build"]

DATA, COUNT, LBA_LOW, LBA_MID, LBA_HIGH = 0x1F0, 0x1F2, 0x1F3, 0x1F4, 0x1F5
DEVICE, COMMAND, CONTROL = 0x1F6, 0x1F7, 0x3F6
READ_MULTIPLE, WRITE_MULTIPLE, SET_MULTIPLE_MODE = 0xC4, 0xC5, 0xC6
LBA_MODE: Final = 0x40
DATA_WANTED, FAILED = 0x08, 0x21  # DRQ; ERR and DF
SECTORS: Final = BLOCK // 512
SECTORS_SHIFT: Final = SECTORS.bit_length() - 1
CASCADE_UNMASKED, DISK_UNMASKED = 0xFB, 0xBF

DRIVER: Final = f"""
start_disk:
    mov al, {CASCADE_UNMASKED:#x}
    out {MASTER + 1:#x}, al
    mov al, {DISK_UNMASKED:#x}
    out {SLAVE + 1:#x}, al
    xor edi, edi
    mov esi, {SET_MULTIPLE_MODE:#x}
    call disk_command
    jmp wait_for_disk

disk_command:                   ; RDI sector, ESI command, for {SECTORS} sectors
    mov edx, {COUNT:#x}
    mov al, {SECTORS}
    out dx, al
    mov edx, {LBA_LOW:#x}
    mov eax, edi
    out dx, al
    mov edx, {LBA_MID:#x}
    shr eax, 8
    out dx, al
    mov edx, {LBA_HIGH:#x}
    shr eax, 8
    out dx, al
    mov edx, {DEVICE:#x}
    shr eax, 8
    or al, {LBA_MODE:#x}
    out dx, al
    mov edx, {COMMAND:#x}
    mov eax, esi
    out dx, al
    ret

wait_for_disk:                  ; until the handler has run, which leaves the status
    cli
    xor eax, eax
    xchg [disk_status], eax
    test eax, eax
    jnz .done
    sti
    hlt
    jmp wait_for_disk
.done:
    sti
    test al, {FAILED:#x}
    jnz disk_failed
    ret

disk_interrupt:
    push rax
    push rdx
    mov edx, {COMMAND:#x}
    in al, dx                   ; the status: it takes the request back
    movzx eax, al
    mov [disk_status], eax
    mov al, {END_OF_INTERRUPT:#x}
    out {SLAVE:#x}, al
    out {MASTER:#x}, al
    pop rdx
    pop rax
    iretq

next_block:
    {CHOOSE}
    mov esi, {FREE_MEMORY:#x}
    call load_block
    mov eax, {FREE_MEMORY:#x}
    ret

load_block:
    push rsi
    shl edi, {SECTORS_SHIFT}
    mov esi, {READ_MULTIPLE:#x}
    call disk_command
    call wait_for_disk
    pop rdi
    mov ecx, {BLOCK // 2}
    mov edx, {DATA:#x}
    rep insw
    ret

store_block:
    push rsi
    shl edi, {SECTORS_SHIFT}
    mov esi, {WRITE_MULTIPLE:#x}
    call disk_command
    mov edx, {CONTROL:#x}
.ask:                           ; the first block of data is wanted without an interrupt
    in al, dx
    test al, {FAILED:#x}
    jnz disk_failed
    test al, {DATA_WANTED:#x}
    jz .ask
    pop rsi
    mov ecx, {BLOCK // 2}
    mov edx, {DATA:#x}
    rep outsw
    jmp wait_for_disk
"""


def build(operations: int) -> bytes:
    """The guest, as an ELF. Raises ValueError for a bad number of operations."""
    guest = begin(NAME, operations)
    add_data(guest)
    guest.bss("disk_status", 4)
    return finish(guest, operations, DRIVER + TEXT, {DISK_VECTOR: "disk_interrupt"})
