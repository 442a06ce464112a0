"""Flags and faults between ordinary instructions: IF as the program left it, single steps, faults within a block.

Where a step or a fault came is in the log or the trace, and so is what was pushed. The kinds that read IF back, or set
it by POPF, are those that trap gets wrong.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import memory_form, move, push
from tests.equivalence.kinds import Piece, kind
from tests.equivalence.kinds_code import INC_EAX, INC_EBX, KEEP_EAX, KEEP_EBX, filler, signed, text
from tests.equivalence.kinds_devices import VECTOR
from tests.equivalence.kinds_transfers import BACK, to_user

TF: Final = 0x100
SEND: Final = move(3, at.APIC + 0x300) + b"\xc7\x03"  # the local APIC's ICR; an imm32 follows
SELF: Final = (0x40000 | VECTOR).to_bytes(4, "little")


def step(choose: Random) -> bytes:
    """One of what changes or shows the flags."""
    pushed = choose.choice((0x2, 0x202, 0xAD7, 0x40202, 0x200002, 0x200AD6))
    return choose.choice(
        (
            b"\xfa", b"\xfb", b"\xfb\x90", b"\x9c\x5b", b"\x9c\x5e", b"\x66\x9c\x66\x59", push(pushed) + b"\x9d",
            b"\x9c\x9d", b"\x66\x68" + (pushed & 0xFFFF).to_bytes(2, "little") + b"\x66\x9d", b"\xf9", b"\xfd\xfc",
            b"\x9c\x81\x24\x24\xff\xfd\xff\xff\x9d", b"\x9c\x81\x0c\x24\x00\x02\x00\x00\x9d", INC_EAX,
        )
    )  # fmt: skip


@kind(5, hole="PUSHF")
def flags_in_a_row(choose: Random) -> Piece:
    """CLI, STI, PUSHF and POPF of either width, in any order; the last PUSHF says what became of it."""
    code = b""
    while len(code) < 36:
        code += step(choose)
    return Piece(code + b"\x9c\x5b")


@kind(3, hole="POPF")
def interrupt_let_in_by_popf(choose: Random) -> Piece:
    """An interrupt to oneself waits for POPF, or for STI and the instruction behind it."""
    let = choose.choice(
        (push(0x202) + b"\x9d", b"\xfb", b"\x9c\x81\x0c\x24\x00\x02\x00\x00\x9d", b"\x66\x68\x02\x02\x66\x9d")
    )
    return Piece(b"\xfa" + SEND + SELF + INC_EBX + let + INC_EBX + INC_EBX + KEEP_EBX)


@kind(3)
def interrupt_at_a_boundary(choose: Random) -> Piece:
    """STI with 0 to 4 instructions behind it and a branch; one is interrupted, and the frame says which."""
    behind = choose.choice(
        (b"\x90", b"\xfa", b"\xfb", b"\xeb\x00", b"\xe8\x00\x00\x00\x00", b"\x50", b"\x31\xc0", b"\xe3\x00")
    )
    return Piece(b"\xfa" + SEND + SELF + filler(choose) + b"\xfb" + behind + INC_EBX + behind + INC_EBX + KEEP_EBX)


@kind(2)
def interrupt_while_it_is_on(choose: Random) -> Piece:
    """IF is set: what is sent comes at once, before the next instruction."""
    return Piece(b"\xfb\x90" + filler(choose) + SEND + SELF + INC_EBX + INC_EAX + KEEP_EBX)


STEPPED: Final = (
    "ffc0", "eb00", "7500", "7400", "e800000000", "e30090", "6a0558", "fa", "fb", "fb90", "0fa2", "0f20c0", "cc",
    "cd90", "0f0b", "f390", "488d0500000000", "ff0425009f1000", "8ed0", "f7f1", "90", "48a5", "c8000000c9",
)  # fmt: skip


def take(steps: int) -> bytes:
    """Have that many steps noted, and the program go on behind each."""
    return memory_form(b"\xc6", 0, at.TRACING) + bytes([steps])


def with_trap_flag(code: bytes, flags: int = 0) -> bytes:
    """IRETQ to `code`, which follows it, with TF."""
    frame = bytes([0x6A, at.KERNEL_SS]) + push(at.STACK) + push(TF | 2 | flags) + bytes([0x6A, at.KERNEL_CS])
    return frame + b"\x48\x8d\x05" + signed(3) + b"\x50\x48\xcf" + code


@kind(4)
def one_step(choose: Random) -> Piece:
    """TF set by IRETQ: one instruction runs, then #DB comes, whatever the instruction is."""
    code = bytes.fromhex(choose.choice(STEPPED))
    return Piece(with_trap_flag(code + INC_EBX, choose.choice((0, 0x200))) + INC_EBX)


ROWS: Final = (
    (5, INC_EAX + INC_EBX + b"\xeb\x00" + INC_EAX + INC_EBX),
    (3, b"\xe8\x02\x00\x00\x00\xeb\x01\xc3"),
    (2, b"\x75\x02" + INC_EAX + INC_EBX + b"\x90"),
    (5, b"\x31\xc9\xe3\x00\x90\xff\xc1\xe2\x00"),
    (4, b"\xfa\x90\xfb\x90\x90"),
    (4, b"\x6a\x07\x58\x50\x5b"),
    (3, b"\xb8\x10\x00\x00\x00\x8e\xd0\x90\x90"),
    (2, b"\x0f\xa2\x90"),
)


@kind(4)
def many_steps(choose: Random) -> Piece:
    """Steps over branches, calls and returns; the handler notes where each of them came, and goes on."""
    steps, code = choose.choice(ROWS)  # no more steps than instructions
    return Piece(take(choose.randint(1, steps)) + with_trap_flag(code, choose.choice((0, 0x200))))


@kind(2)
def string_stepped(choose: Random) -> Piece:
    """REP MOVSB, STOSB, SCASB and CMPSB under TF: a step an element."""
    count = choose.randrange(4)
    begin = take(choose.randint(1, max(count, 1))) + move(6, at.DATA)
    begin += move(7, choose.choice((at.DATA + 0x200, at.WINDOW))) + move(1, count)
    return Piece(begin + with_trap_flag(choose.choice((b"\xf3\xa4", b"\xf3\xaa", b"\xf2\xae", b"\xf3\xa6"))))


@kind(3, hole="POPF")
def step_set_by_popf(choose: Random) -> Piece:
    """TF set by POPF is in force behind the instruction that follows it; PUSHF shows it."""
    code = choose.choice(
        (INC_EAX + INC_EBX, b"\xeb\x00\x90\x90", b"\x9c\x5b\x90", b"\xe8\x00\x00\x00\x00\x5b", b"\xfa\x9c\x5b\xfb")
    )
    begin = take(choose.choice((1, 4))) + push(TF | 2) + b"\x9d"
    return Piece(begin + code + push(2) + b"\x9d" + take(0) + KEEP_EBX)


FAULTS: Final = (
    "0f0b",
    "cc",
    "cd90",
    "cd80",
    "f1",
    "31c9f7f1",
    "31c9f6f1",
    "0f20c8",
    "8ec8",
    "f00f0b",
    "d40a",
    "0fa20f0b",
    "0f30",
)


@kind(6)
def fault_within_a_block(choose: Random) -> Piece:
    """What stands before the fault has happened, and what stands behind it has not."""
    fault = bytes.fromhex(choose.choice(FAULTS))
    if choose.random() < 0.4:
        fault = move(3, choose.choice((at.UNMAPPED, at.NOT_CANONICAL, at.WINDOW + (1 << 21)))) + choose.choice(
            (
                b"\x8b\x03",
                b"\x89\x03",
                b"\xff\x03",
                b"\xff\x33",
                b"\x8f\x03",
                b"\x48\xab\x48\x03\x03",
                b"\xff\x13",
                b"\xff\x23",
            )
        )
    return Piece(filler(choose) + KEEP_EAX + b"\xff\xc5" + fault + b"\xff\xc5" + KEEP_EBX + filler(choose, 3))


@kind(2)
def fault_while_pushing(choose: Random) -> Piece:
    """CALL and PUSH onto a page that is not there: RSP is what it was, and the frame says where."""
    top = choose.choice((at.UNMAPPED, at.WINDOW + (1 << 21) + 8, at.NOT_CANONICAL, at.WINDOW + (1 << 21)))
    code = choose.choice((b"\xe8\x00\x00\x00\x00", b"\x50", b"\xff\xd3", b"\xff\x33", b"\x6a\x07", b"\x0f\xa0"))
    return Piece(INC_EAX + move(4, top) + INC_EBX + code + INC_EBX)


@kind(3)
def two_levels(choose: Random) -> Piece:
    """Ordinary instructions on both sides of the way to CPL 3, and a fault or system call there."""
    user = choose.choice(
        (
            b"\x0f\x05",
            b"\x0f\x0b",
            b"\xfa",
            b"\xcd\x80",
            b"\x0f\xa2",
            b"\xf4",
            text("mov rbx, [rip]; call x; x: pop rcx"),
        )
    )
    return Piece(
        filler(choose) + to_user(choose.choice((0x202, 0x2, 0x302))) + INC_EAX, INC_EBX + user + INC_EBX + BACK
    )


@kind(2)
def words_in_memory(choose: Random) -> Piece:
    """Chains of stores and loads, with the same operands through several addressing forms."""
    place = at.DATA + 0x100 + 8 * choose.randrange(32)
    code = b"".join(
        choose.choice((memory_form(b"\x01", 0, place), memory_form(b"\xff", 0, place), text("add [rip + 0x5020], eax")))
        for _ in range(5)
    )
    return Piece(code + KEEP_EAX)
