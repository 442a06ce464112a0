"""Instructions through which trap must differ: each names the line of docs/holes.md that lists it."""

from __future__ import annotations

from random import Random

from tests.equivalence import layout as at
from tests.equivalence.code import control, debug, memory_form, move, push, store
from tests.equivalence.kinds import Piece, kind
from tests.equivalence.kinds_transfers import BACK, to_user

PLACE = at.DATA + 0x900


@kind(2, hole="SGDT")
def store_gdt(_choose: Random) -> Piece:
    return Piece(memory_form(b"\x0f\x01", 0, PLACE))


@kind(2, hole="SIDT")
def store_idt(_choose: Random) -> Piece:
    return Piece(memory_form(b"\x0f\x01", 1, PLACE))


@kind(2, hole="SLDT")
def store_ldt(_choose: Random) -> Piece:
    return Piece(b"\x0f\x00\xc1")


@kind(2, hole="STR")
def store_task_register(_choose: Random) -> Piece:
    return Piece(b"\x0f\x00\xc9")


@kind(2, hole="SMSW")
def store_machine_status_word(_choose: Random) -> Piece:
    return Piece(b"\x0f\x01\xe1")


@kind(2, hole="PUSHF")
def push_flags(_choose: Random) -> Piece:
    return Piece(b"\xfa\x9c\x5b")


@kind(1, hole="PUSHF")
def push_flags_at_user_level(choose: Random) -> Piece:
    return Piece(to_user(choose.choice((0x2, 0x3202))), b"\x9c\x58" + BACK)


@kind(2, hole="POPF")
def pop_flags(choose: Random) -> Piece:
    return Piece(push(choose.choice((0x2, 0x202, 0x3202))) + b"\x9d")


@kind(2, hole="MOV from CS")
def move_from_cs(_choose: Random) -> Piece:
    return Piece(b"\x8c\xc9")


@kind(2, hole="MOV from SS")
def move_from_ss(_choose: Random) -> Piece:
    return Piece(b"\x8c\xd1")


@kind(1, hole="LAR")
def load_access_rights(choose: Random) -> Piece:
    return Piece(move(2, choose.choice((8, 16, 0x1B, 0x28))) + b"\x0f\x02\xc2")


@kind(1, hole="LSL")
def load_segment_limit(choose: Random) -> Piece:
    return Piece(move(2, choose.choice((8, 16, 0x1B, 0x28))) + b"\x0f\x03\xc2")


@kind(1, hole="VERR")
def verify_for_reading(choose: Random) -> Piece:
    return Piece(move(2, choose.choice((8, 16, 0x1B))) + b"\x0f\x00\xe2")


@kind(1, hole="VERW")
def verify_for_writing(choose: Random) -> Piece:
    return Piece(move(2, choose.choice((16, 0x1B))) + b"\x0f\x00\xea")


@kind(1, hole="MOV to SS of a null selector")
def null_stack_segment(_choose: Random) -> Piece:
    return Piece(move(2, 0) + b"\x8e\xd2\x8c\xd1" + move(2, at.KERNEL_SS) + b"\x8e\xd2")


@kind(1, hole="a breakpoint in DR0")
def breakpoint_on_code(_choose: Random) -> Piece:
    """An instruction breakpoint on the NOP behind it."""
    arm = b"\x48\x8d\x05\x0b\x00\x00\x00" + debug(0, 0, write=True) + move(1, 0x402) + debug(7, 1, write=True)
    return Piece(arm + b"\x90\x90\x90" + move(1, 0x400) + debug(7, 1, write=True))


@kind(1, hole="WAIT with CR0.TS set and CR0.MP clear")
def wait_for_the_coprocessor(choose: Random) -> Piece:
    value = 0x80050033 & ~choose.choice((2, 2, 0)) | choose.choice((8, 8, 0))
    return Piece(move(0, value) + control(0, 0, write=True) + b"\x9b\xff\xc3")


@kind(1, hole="SSE with CR4.OSFXSR clear")
def sse_without_its_bit(_choose: Random) -> Piece:
    return Piece(b"\x0f\x06" + without_its_bit(b"\x0f\x28\xc1"))


@kind(1, erratum="SSE with CR4.OSFXSR clear and CR0.TS set")
def sse_without_its_bit_after_a_task_switch(_choose: Random) -> Piece:
    return Piece(
        control(0, 0, write=False) + b"\x83\xc8\x08" + control(0, 0, write=True) + without_its_bit(b"\x0f\x28\xc1")
    )


def without_its_bit(code: bytes) -> bytes:
    return move(0, 0x20) + control(4, 0, write=True) + code + move(0, 0x220) + control(4, 0, write=True)


@kind(1, hole="LFS of 64 bits, offset below 4 GiB", erratum="LFS and its kin of 64 bits: m16:64")
def load_far_pointer_of_64_bits(_choose: Random) -> Piece:
    return Piece(store(PLACE, 0x9000) + store(PLACE + 8, at.USER_SS) + memory_form(b"\x48\x0f\xb4", 3, PLACE))
