"""Between levels: IRET to either, SYSCALL and SYSRET, software interrupts, and what a program at CPL 3 may not do."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import memory_form, move, push
from tests.equivalence.kinds import Piece, kind

BACK: Final = bytes([0xCD, at.BACK])
USER_FLAGS: Final = 0x202
HERE: Final = 0xFFFF_FFFF  # stands for the address of the slot's user code: program.py puts it in
FRAME_CS: Final = (
    at.KERNEL_CS,
    at.KERNEL_CS,
    at.USER_CS,
    0,
    at.KERNEL_CS | 3,
    at.KERNEL_CS | 1,
    at.CONFORMING,
    at.ABSENT_CODE,
    at.KERNEL_SS,
    at.BEYOND,
)
FRAME_SS: Final = (at.KERNEL_SS, at.KERNEL_SS, at.USER_SS, at.KERNEL_SS | 1, at.KERNEL_CS, at.READ_ONLY, at.BEYOND)


def to_user(flags: int = USER_FLAGS) -> bytes:
    """IRETQ to the slot's user code. HERE is a PUSH imm32, whose bytes program.py finds."""
    return (
        push(at.USER_SS)
        + push(at.USER_STACK)
        + push(flags)
        + push(at.USER_CS)
        + b"\x68"
        + HERE.to_bytes(4, "little")
        + b"\x48\xcf"
    )


USER_CODES: Final = (
    "90", "fa", "fb", "f4", "0f20c0", "0f22d8", "0f32", "0f30", "0f01f8", "0f05", "0f07", "480f07", "ec", "ee", "cf",
    "48cf", "0f09", "0f08", "0f06", "0f01f0", "0f00d0", "0f00d8", "0f0b", "cc", "f1", "cd80", "cd41", "cd43", "cd03",
    "f7f1", "0fa2", "0f3131c031d2", "6a005f", "31c08ed8", "31c08ee0", "c3", "cb", "48cb", "0f013c2500001000", "0f20d0",
    "0f23c0", "0f21c0", "6668000058", "0faa", "0f35", "0f33", "0f01c1", "0f01d9", "6e", "6d", "dbe3",
    "6a1b0fa1",
)  # fmt: skip


@kind(6)
def at_user_level(choose: Random) -> Piece:
    return Piece(
        to_user(choose.choice((0x202, 0x202, 0x2, 0x3202, 0x40202))), bytes.fromhex(choose.choice(USER_CODES)) + BACK
    )


@kind(3)
def memory_at_user_level(choose: Random) -> Piece:
    gva = choose.choice((at.WINDOW, at.WINDOW + 0x1000, at.WINDOW + 0x3FFC, at.DATA, at.GDT, at.ROOT, at.WINDOW_TABLE))
    opcode = choose.choice((b"\x48\x8b", b"\x48\x89", b"\x48\x01", b"\x48\x87"))
    return Piece(to_user(), memory_form(opcode, choose.choice((0, 1, 2, 3)), gva) + BACK)


@kind(3)
def system_call(choose: Random) -> Piece:
    return Piece(
        to_user(choose.choice((0x202, 0xAD7, 0x602))),
        choose.choice((b"", move(1, choose.getrandbits(64)))) + b"\x0f\x05" + BACK,
    )


@kind(3)
def system_return(choose: Random) -> Piece:
    """By RCX and R11; a piece at CPL 3 comes back."""
    return leave_to_user(choose, choose.choice((0x202, 0x2, 0xAD7, 0x40602)))


def leave_to_user(choose: Random, flags: int) -> Piece:
    begin = b"\xb9" + HERE.to_bytes(4, "little") + move(11, flags)
    return Piece(begin + b"\x48\x0f\x07", choose.choice((b"\x90", b"\x0f\x05", b"\x90")) + BACK)


@kind(1, erratum="RF, once set, stays past the next instruction")
def system_return_with_resume_flag(choose: Random) -> Piece:
    return leave_to_user(choose, 0x10202)


@kind(1, erratum="SYSRET: a target that is not canonical")
def system_return_badly(_choose: Random) -> Piece:
    return Piece(move(1, at.NOT_CANONICAL) + move(11, 0x202) + b"\x48\x0f\x07")


@kind(1, lacks="code of 32 bits")
def system_return_to_compatibility_mode(choose: Random) -> Piece:
    return Piece(leave_to_user(choose, 0x202).kernel[:-3] + b"\x0f\x07", BACK)


@kind(4)
def interrupt_return(choose: Random) -> Piece:
    """With any selectors and flags; to the next instruction where it stays in the kernel."""
    flags = choose.choice((0x2, 0x202, 0xAD7, 0x40602, 0x200202))  # IOPL 0: see POPF
    return return_by_frame(choose.choice(FRAME_SS), flags, choose.choice(FRAME_CS))


@kind(1, erratum="RF, once set, stays past the next instruction")
def interrupt_return_with_resume_flag(_choose: Random) -> Piece:
    return return_by_frame(at.KERNEL_SS, 0x10202, at.KERNEL_CS)


def return_by_frame(stack: int, flags: int, code: int) -> Piece:
    """IRETQ to the instruction behind it."""
    frame = push(stack) + push(at.STACK) + push(flags) + push(code)
    return Piece(frame + b"\x48\x8d\x05\x03\x00\x00\x00\x50\x48\xcf")


@kind(1)
def interrupt_return_nowhere(_choose: Random) -> Piece:
    frame = push(at.KERNEL_SS) + push(at.STACK) + push(0x2) + push(at.KERNEL_CS)
    return Piece(frame + push(at.UNMAPPED) + b"\x48\xcf")


@kind(1, erratum="far transfers and IRET: a target that is not canonical")
def interrupt_return_to_no_address(_choose: Random) -> Piece:
    frame = push(at.KERNEL_SS) + push(at.STACK) + push(0x202) + push(at.KERNEL_CS)
    return Piece(frame + push(at.NOT_CANONICAL) + b"\x48\xcf")


@kind(1, erratum="IRET: SS that is not present is #NP")
def interrupt_return_to_no_stack(_choose: Random) -> Piece:
    return return_by_frame(at.ABSENT_DATA, 0x202, at.KERNEL_CS)


@kind(1)
def nested_task(_choose: Random) -> Piece:
    """IRETQ while NT is set."""
    return Piece(b"\xfb\x90" + push(0x4202) + b"\x9d" + b"\x48\xcf")


@kind(4)
def software_interrupt(choose: Random) -> Piece:
    vector = choose.choice(
        (0x80, 0xFF, at.KERNEL_ONLY, at.ABSENT_GATE, 3, 4, 0, 13, 14, 8, 0x20, choose.randrange(0x80, 0xFD))
    )
    return Piece(choose.choice((bytes([0xCD, vector]), bytes([0xCD, vector]), b"\xcc", b"\xf1")))


@kind(3)
def swap_gs(choose: Random) -> Piece:
    return Piece(
        b"\x0f\x01\xf8"
        + choose.choice((b"", b"\x65" + memory_form(b"\x48\x8b", 0, choose.choice((0, 8, at.DATA))), b"\x0f\x01\xf8"))
    )
