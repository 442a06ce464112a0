"""Which segments, task state and gates does a 64-bit kernel need? GDT, TSS and IDT as data, and their loading.

Intel SDM vol. 3: 3.4.5 (descriptors), 6.14.1 (gates), 7.7 (TSS).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from guest_sdk.builder import Guest

KERNEL_CS, KERNEL_SS = 0x08, 0x10
USER_CS, USER_SS = 0x23, 0x1B  # in the order that SYSRET wants: SS, then CS
TSS_SELECTOR: Final = 0x28
STACK_BYTES: Final = 4096
VECTORS: Final = 64  # exceptions, 16 of the two 8259s, and 16 of the local APIC

# Type, S, DPL, P and flags of the flat segments; base and limit mean nothing in 64-bit mode.
KERNEL_CODE, KERNEL_DATA = 0x00AF9B000000FFFF, 0x00CF93000000FFFF
USER_CODE, USER_DATA = 0x00AFFB000000FFFF, 0x00CFF3000000FFFF
TSS_AVAILABLE: Final = 0x89
INTERRUPT_GATE: Final = 0x8E
TSS_BYTES: Final = 104

LOAD: Final = f"""
load_descriptors:
    lgdt [gdtr]
    push {KERNEL_CS:#x}
    mov rax, .flat
    push rax
    retfq
.flat:
    mov eax, {KERNEL_SS:#x}
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, {TSS_SELECTOR:#x}
    ltr ax
    lidt [idtr]
    ret
unexpected:                     ; no event of this vector was to come
    mov al, 0xff
    out DEBUG_EXIT_PORT, al
"""


def add(guest: Guest, handlers: Mapping[int, str]) -> None:
    """Append `load_descriptors` and what it loads. handlers: labels by vector; any other vector ends the guest."""
    guest.bss("kernel_stack", STACK_BYTES)
    low = f"{TSS_BYTES - 1} | (tss & 0xffffff) << 16 | {TSS_AVAILABLE} << 40 | (tss >> 24 & 0xff) << 56"
    guest.quads("gdt", [0, KERNEL_CODE, KERNEL_DATA, USER_DATA, USER_CODE, low, "tss >> 32"])
    # reserved, RSP0-2, reserved, IST1-7, reserved, where the I/O bitmap would be
    guest.fields(
        "tss", [(4, 0), (8, f"kernel_stack + {STACK_BYTES}"), *[(8, 0)] * 11, (2, 0), (2, TSS_BYTES)], align=128
    )
    labels = [handlers.get(vector, "unexpected") for vector in range(VECTORS)]
    guest.fields("idt", [field for label in labels for field in gate(label)])
    guest.fields("gdtr", [(2, 7 * 8 - 1), (8, "gdt")])
    guest.fields("idtr", [(2, VECTORS * 16 - 1), (8, "idt")])
    guest.asm(LOAD)


def gate(label: str) -> list[tuple[int, int | str]]:
    """An interrupt gate of DPL 0 without an IST."""
    low, middle, high = f"{label} & 0xffff", f"{label} >> 16 & 0xffff", f"{label} >> 32"
    return [(2, low), (2, KERNEL_CS), (1, 0), (1, INTERRUPT_GATE), (2, middle), (4, high), (4, 0)]
