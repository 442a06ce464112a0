"""Where do the instructions run? One memory, with tables and stacks at the same places on every processor.

Intel SDM vol. 3: 3.4.5 and 3.5 (descriptors), 6.14 (64-bit gates), 8.7 (TSS). CPL 3 may use each page, so that
privilege alone decides what an instruction may do. The bare processor and the machines of each technique stand on the
same bytes.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

from pv.loaders.boot import BootState, write_boot_tables
from pv.loaders.flat import load_flat
from pv.memory import GuestMemory

MEMORY_BYTES: Final = 4 << 20
GDT, GDT_ELSEWHERE, IDT, IDT_ELSEWHERE, TSS, LDT = 0x2000, 0x2800, 0x3000, 0x4000, 0x5000, 0x5800
ROOT_ELSEWHERE: Final = 0x6000  # a copy of the topmost page table
STACK_PAGE: Final = 0x8000
STACK: Final = STACK_PAGE + 0x800  # where RSP is at each instruction
TABLES_FIRST, TABLES_END = 0x10000, 0x7C000  # the loader's page tables
CODE: Final = 0x100000  # where the instruction stands, then LANDING
LANDING: Final = CODE + 0x10  # where it is to come to
PROBE: Final = CODE + 0x80  # reads the watched page
STUBS: Final = CODE + 0x1000  # STUB_BYTES a vector
STUB_BYTES: Final = 32
DATA: Final = CODE + 0x3000  # what RBX points at
WATCHED: Final = CODE + 0x4000  # a page whose translation is changed behind the processor's back
WATCHED_OTHER: Final = CODE + 0x5000
SAVED: Final = CODE + 0x6000  # what a stub puts away
KERNEL_STACK: Final = CODE + 0x8000  # its top: where events that change the level find a stack
IMAGE_BYTES: Final = 0x8000
PAGE: Final = 0x1000

LIMIT: Final = 0xF_0000_0000_FFFF | 1 << 55  # 4 GiB
CODE_SEGMENT, DATA_SEGMENT = LIMIT | 0x9B << 40 | 1 << 53, LIMIT | 0x93 << 40 | 1 << 54
CONFORMING: Final = LIMIT | 0x9F << 40 | 1 << 53
DPL1, DPL3 = 1 << 45, 3 << 45


def system_descriptor(kind: int, base: int, limit: int) -> tuple[int, int]:
    """The 16 bytes of a TSS (9) or LDT (2), present, as two words."""
    return limit & 0xFFFF | (base & 0xFFFFFF) << 16 | (0x80 | kind) << 40 | (base >> 24 & 0xFF) << 56, base >> 32


def call_gate(selector: int, rip: int) -> tuple[int, int]:
    """A call gate that CPL 3 may use (type 12), as two words."""
    return rip & 0xFFFF | selector << 16 | 0xEC << 40 | (rip >> 16 & 0xFFFF) << 48, rip >> 32


SUBJECT: Final = 0x58  # the descriptor that an instruction loads or asks about, and that a setting replaces
TSS_SELECTOR, LDT_SELECTOR, OTHER_LDT = 0x38, 0x48, 0x68
CODE_SELECTORS: Final = {0: 0x08, 1: 0x19, 3: 0x33}  # by CPL
STACK_SELECTORS: Final = {0: 0x10, 1: 0x21, 3: 0x2B}
GDT_WORDS: Final = (
    0, CODE_SEGMENT, DATA_SEGMENT, CODE_SEGMENT | DPL1, DATA_SEGMENT | DPL1, DATA_SEGMENT | DPL3, CODE_SEGMENT | DPL3,
    *system_descriptor(9, TSS, 0x67), *system_descriptor(2, LDT, 0x1F), 0, 0, *system_descriptor(2, LDT + 0x100, 0xF),
)  # fmt: skip
GDT_LIMIT: Final = 8 * len(GDT_WORDS) - 1
IDT_LIMIT: Final = 16 * 256 - 1


def interrupt_gate(rip: int, dpl: int = 0) -> bytes:
    """16 bytes: a present gate of type 14 to the kernel's code."""
    low = rip & 0xFFFF | CODE_SELECTORS[0] << 16 | 0x8E << 40 | dpl << 45 | (rip >> 16 & 0xFFFF) << 48
    return struct.pack("<QQ", low, rip >> 32)


@cache
def gates() -> bytes:
    """An IDT that leads each vector to its stub."""
    return b"".join(interrupt_gate(STUBS + STUB_BYTES * vector) for vector in range(256))


def lay_tables(memory: GuestMemory, subject: tuple[int, int] = (0, 0)) -> None:
    """Write GDT, IDT, TSS and LDT, a copy of each of the first two, and `subject` as the descriptor that it names."""
    words = list(GDT_WORDS)
    words[SUBJECT // 8 : SUBJECT // 8 + 2] = subject
    for at in (GDT, GDT_ELSEWHERE):
        memory.write(at, struct.pack(f"<{len(words)}Q", *words))
    for at in (IDT, IDT_ELSEWHERE):
        memory.write(at, gates())
    memory.write(TSS, bytes(4) + struct.pack("<3Q", *[KERNEL_STACK] * 3) + bytes(102 - 28) + b"\x68\0")
    memory.write(LDT, bytes(0x20))


def image(code: bytes, landing: bytes, stub: bytes) -> bytes:
    """What a loader places at CODE: the instruction, where it comes to, and `stub` once for every vector."""
    filled = bytearray(IMAGE_BYTES)
    filled[: LANDING - CODE] = code.ljust(LANDING - CODE, b"\x90")
    filled[LANDING - CODE : LANDING - CODE + len(landing)] = landing
    for vector in range(256):
        at = STUBS - CODE + STUB_BYTES * vector
        filled[at : at + STUB_BYTES] = stub.ljust(STUB_BYTES, b"\x90")
    return bytes(filled)


def open_to_all(memory: GuestMemory) -> None:
    """Let CPL 3 use each page that the loader's tables map. They stand side by side, and a zero page ends them."""
    for table in range(TABLES_FIRST, TABLES_END, PAGE):
        entries = struct.unpack("<512Q", memory.read(table, PAGE))
        if not any(entries):
            break
        memory.write(table, struct.pack("<512Q", *[entry | 4 if entry & 1 else entry for entry in entries]))


def lay_ground(memory: GuestMemory, code: bytes) -> BootState:
    """Write a whole ground for the bare processor: image, page tables, descriptor tables."""
    placed = load_flat(code, memory.size_bytes)
    placed.place(memory)
    state = write_boot_tables(memory, placed)
    open_to_all(memory)
    memory.write(ROOT_ELSEWHERE, memory.read(state.cr3, PAGE))
    lay_tables(memory)
    return state


def page_entry(memory: GuestMemory, cr3: int, gva: int) -> int:
    """gpa of the entry of a 4 KiB page. Raises ValueError where a larger page maps it, or none."""
    table = cr3
    for level in (3, 2, 1):
        entry = memory.read_uint(table + (gva >> 12 + 9 * level & 511) * 8, 8)
        if entry & 0x81 != 1:
            raise ValueError(f"{gva:#x} is not mapped by a 4 KiB page")
        table = entry & 0xFFFFFFFFF000
    return table + (gva >> 12 & 511) * 8
