"""Segments and descriptor tables: loads of every selector, LGDT to LTR, and the far transfers that use them."""

from __future__ import annotations

import struct
from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import load, memory_form, move, push, store
from tests.equivalence.kinds import Piece, kind

SELECTORS: Final = (
    0, 1, 3, at.KERNEL_CS, at.KERNEL_SS, at.KERNEL_SS | 3, at.USER_SS, at.USER_SS & ~3, at.USER_CS, at.TSS_SELECTOR,
    at.LDT_SELECTOR, at.CONFORMING, at.ABSENT_DATA, at.ABSENT_CODE, at.EXECUTE_ONLY, at.READ_ONLY, at.CODE_32,
    at.USER_BASED, at.BEYOND, 0xFFF8, at.LDT_DATA, at.LDT_DATA | 3, 4, 0x14, 0x24,
)  # fmt: skip
ES, SS, DS, FS, GS = 0, 2, 3, 4, 5
POINTER: Final = at.DATA + 0x800


@kind(4)
def move_to_segment(choose: Random) -> Piece:
    known = [one for one in SELECTORS if one not in (1, 3)]  # see null_selector_with_a_level
    return Piece(move(0, choose.choice(known)) + bytes([0x8E, 0xC0 | choose.choice((ES, DS, FS, GS)) << 3]))


@kind(3)
def move_to_stack_segment(choose: Random) -> Piece:
    selector = choose.choice([one for one in SELECTORS if one & ~3])  # a null one is a hole
    return Piece(move(0, selector) + b"\x8e\xd0")


@kind(1)
def move_to_code_segment(choose: Random) -> Piece:
    return Piece(move(0, choose.choice(SELECTORS)) + b"\x8e\xc8")


@kind(2)
def pop_segment(choose: Random) -> Piece:
    known = [one for one in SELECTORS if one not in (1, 3)]
    return Piece(push(choose.choice(known)) + choose.choice((b"\x0f\xa1", b"\x0f\xa9")))


@kind(2)
def load_far_pointer(choose: Random) -> Piece:
    selector = choose.choice([one for one in SELECTORS if one & ~3])
    opcode = choose.choice((b"\x0f\xb4", b"\x0f\xb5", b"\x0f\xb2"))
    return Piece(store(POINTER, selector << 32 | choose.getrandbits(32)) + memory_form(opcode, 3, POINTER))


@kind(3)
def read_through_segment(choose: Random) -> Piece:
    prefix = choose.choice((b"\x64", b"\x65"))
    return Piece(prefix + memory_form(b"\x48\x8b", choose.choice((0, 1, 2, 3, 6, 7)), choose.choice((0, 8, at.DATA))))


def table_load(choose: Random, extension: int, limit: int, base: int) -> Piece:
    packed = struct.pack("<HQ", limit, base)
    first, second = int.from_bytes(packed[:8], "little"), int.from_bytes(packed[8:], "little")
    place = POINTER + choose.choice((0, 8, 16))
    return Piece(store(place, first) + store(place + 8, second) + memory_form(b"\x0f\x01", extension, place))


@kind(2)
def load_gdt(choose: Random) -> Piece:
    return table_load(choose, 2, choose.choice((at.BEYOND - 1, at.BEYOND - 1, 0x67, 0xFFFF)), at.GDT)


@kind(2)
def load_idt(choose: Random) -> Piece:
    return table_load(choose, 3, choose.choice((0xFFF, 0xFFF, 0xFEF)), at.IDT)


@kind(1, erratum="LGDT and LIDT: a base that is not canonical")
def load_table_badly(choose: Random) -> Piece:
    return table_load(choose, choose.choice((2, 3)), 0xFFF, choose.choice((at.NOT_CANONICAL, 1 << 47)))


@kind(1)
def load_table_from_nowhere(choose: Random) -> Piece:
    return Piece(
        move(3, choose.choice((at.UNMAPPED, at.NOT_CANONICAL))) + bytes([0x0F, 0x01, choose.choice((0x13, 0x1B))])
    )


@kind(3)
def load_local_table(choose: Random) -> Piece:
    selector = choose.choice(
        (0, 3, at.LDT_SELECTOR, at.LDT_SELECTOR, at.TSS_SELECTOR, at.KERNEL_SS, at.BEYOND, 4, 0xFFF8)
    )
    return Piece(move(2, selector) + b"\x0f\x00\xd2")


@kind(3)
def load_task_register(choose: Random) -> Piece:
    selector = choose.choice(
        (at.FREE_TSS, at.FREE_TSS, at.ABSENT_TSS, at.TSS_SELECTOR, at.LDT_SELECTOR, at.KERNEL_SS, at.BEYOND, 4)
    )
    return Piece(move(2, selector) + b"\x0f\x00\xda")


@kind(2)
def free_the_task_state(_choose: Random) -> Piece:
    """Clear the busy bit of both descriptors, so that LTR may succeed again."""
    clear = b"".join(
        b"\x80" + memory_form(b"", 4, selector + at.GDT + 5) + b"\xfd" for selector in (at.TSS_SELECTOR, at.FREE_TSS)
    )
    return Piece(clear)


CODE_SELECTORS: Final = (
    at.KERNEL_CS, at.KERNEL_CS, at.KERNEL_CS, 0, at.KERNEL_CS | 1, at.KERNEL_CS | 3, at.USER_CS, at.USER_CS & ~3,
    at.CONFORMING, at.ABSENT_CODE, at.EXECUTE_ONLY, at.KERNEL_SS, at.BEYOND, at.TSS_SELECTOR, at.LDT_DATA,
)  # fmt: skip


@kind(3)
def far_return(choose: Random) -> Piece:
    """To the next instruction, or wherever the selector and the address forbid."""
    return Piece(push(choose.choice(CODE_SELECTORS)) + b"\x48\x8d\x05\x03\x00\x00\x00" + b"\x50\x48\xcb")


@kind(1)
def far_return_nowhere(_choose: Random) -> Piece:
    return Piece(push(at.KERNEL_CS) + push(at.UNMAPPED) + b"\x48\xcb")


@kind(1, erratum="far transfers and IRET: a target that is not canonical")
def far_return_to_no_address(_choose: Random) -> Piece:
    return Piece(push(at.KERNEL_CS) + push(at.NOT_CANONICAL) + b"\x48\xcb")


@kind(1, erratum="LTR of a null selector")
def load_no_task_register(_choose: Random) -> Piece:
    return Piece(move(2, 0) + b"\x0f\x00\xda")


@kind(1, erratum="null selectors with an RPL at IRET to CPL 3")
def null_selector_with_a_level(choose: Random) -> Piece:
    return Piece(move(0, choose.choice((1, 3))) + bytes([0x8E, 0xC0 | choose.choice((ES, DS, FS, GS)) << 3]))


@kind(2)
def far_jump(choose: Random) -> Piece:
    """By a pointer m16:32 to the instruction behind the jump."""
    begin = move(0, choose.choice(CODE_SELECTORS)) + memory_form(b"\x66\x89", 0, POINTER + 4)
    target = b"\x48\x8d\x05\x0e\x00\x00\x00" + memory_form(b"\x89", 0, POINTER)  # LEA over what follows
    return Piece(begin + target + memory_form(b"\xff", 5, POINTER) + load(1, POINTER))


@kind(1, erratum="far CALL while SS is null")
def far_call_without_a_stack_segment(_choose: Random) -> Piece:
    begin = move(0, 0) + b"\x8e\xd0" + store(POINTER, at.KERNEL_CS << 32)
    call = b"\x48\x8d\x05\x0e\x00\x00\x00" + memory_form(b"\x89", 0, POINTER) + memory_form(b"\xff", 3, POINTER)
    return Piece(begin + call + b"\x48\x89\xe1")


@kind(1)
def far_call(choose: Random) -> Piece:
    begin = move(0, choose.choice(CODE_SELECTORS)) + memory_form(b"\x66\x89", 0, POINTER + 4)
    target = b"\x48\x8d\x05\x0e\x00\x00\x00" + memory_form(b"\x89", 0, POINTER)
    return Piece(begin + target + memory_form(b"\xff", 3, POINTER) + b"\x59\x5a")
