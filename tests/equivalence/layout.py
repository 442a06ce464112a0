"""Where do a random program, and what it stands on, lie in guest memory? Linear is physical below 2 MiB."""

from __future__ import annotations

from typing import Final

BOOT, STUBS, HANDLER, CODE, USER = 0x100000, 0x101000, 0x102000, 0x104000, 0x106000  # the image
IMAGE_END: Final = 0x107000
STUB_BYTES: Final = 16
TRACER: Final = 0x103000  # where #DB goes
SLOT_BYTES: Final = 64
SLOTS_MOST: Final = 56  # slots of a program in its page; those after it end the run

VARIABLES, DATA, LOG = 0x108000, 0x109000, 0x10B000  # DATA has two pages
SLOT, COUNT, SAVED = VARIABLES, VARIABLES + 8, VARIABLES + 16
TRACING, TRACED = VARIABLES + 24, VARIABLES + 32  # single steps still to take, and those taken
TRACE, TRACE_WORDS = 0x10D000, 512  # RIP of each
DATA_BYTES: Final = 0x2000
ENTRY_WORDS: Final = 8  # of the log: vector, error code, RIP, CS, RFLAGS, RSP, SS, CR2
EVENTS_MOST: Final = 120
STACK: Final = 0x110000  # tops of stacks; each has two pages
IST1, USER_STACK, KERNEL_STACK = 0x112000, 0x114000, 0x116000

GDT, IDT, TSS, LDT = 0x116000, 0x117000, 0x118000, 0x119000
SECOND_TSS: Final = TSS + 0x800
ROOT, OTHER_ROOT = 0x120000, 0x121000
POINTERS, DIRECTORY, TABLE = 0x122000, 0x123000, 0x124000
WINDOW_DIRECTORY, WINDOW_TABLE = 0x125000, 0x126000  # of the first
OTHER_POINTERS, OTHER_DIRECTORY, OTHER_TABLE = 0x127000, 0x128000, 0x129000
DEVICE_DIRECTORY: Final = 0x12A000
FRAMES: Final = 0x130000  # FRAMES_MOST frames that the window's pages lead to
FRAMES_MOST: Final = 8
CODE_FRAMES: Final = 0x138000  # CODE_FRAMES_MOST frames of functions, which CODE_WINDOW's pages lead to as well
CODE_FRAMES_MOST: Final = 4
CODE_PAGE: Final = CODE_FRAMES >> 12  # the first of the window's pages that leads to them, and if it is one of 2 MiB
FUNCTIONS, FUNCTION_BYTES = 16, 64  # of a frame, and of each
FUNCTION_GAP, FUNCTION_GAP_BYTES = 12, 8  # where in a function are NOPs, and how many

WINDOW: Final = 1 << 30  # a GiB that WINDOW_TABLE maps the first pages of
CODE_WINDOW: Final = WINDOW + 0x1000 * CODE_PAGE
APIC: Final = 0xFEE00000
NOT_CANONICAL: Final = 0x8000_0000_0000_0000
UNMAPPED: Final = 0x6_0000_0000

KERNEL_CS, KERNEL_SS, USER_SS, USER_CS = 0x08, 0x10, 0x1B, 0x23
TSS_SELECTOR, LDT_SELECTOR = 0x28, 0x38
FREE_TSS, ABSENT_TSS = 0x48, 0x58
CONFORMING, ABSENT_DATA, ABSENT_CODE, EXECUTE_ONLY, READ_ONLY, CODE_32, USER_BASED = (
    0x68, 0x70, 0x78, 0x80, 0x88, 0x90, 0x9B
)  # fmt: skip
BEYOND: Final = 0xA0  # the first selector past the GDT's limit
LDT_DATA: Final = 0x0C  # in the LDT
DONE, BACK = 0xFE, 0xFD  # vectors: the program is done; a piece at CPL 3 is
SYSTEM_CALL: Final = 0x100  # what the log has for SYSCALL
KERNEL_ONLY, ABSENT_GATE = 0x41, 0x43  # gates of DPL 0, and one that is not present
NO_ERROR_CODE: Final = 0x5E5E
FINISHED, OVERRUN = 1, 2  # exit statuses
END: Final = 0x140000  # of memory
MEMORY: Final = f"{END >> 10}KiB"
