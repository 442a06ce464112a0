"""Where execution goes: indirect jumps and calls of every form, return addresses that a program reads and changes, and
jumps into the middle of instructions.

A return address is memory of the guest's: the stack is compared like all memory, and what is read of it is kept.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import MASK_64, memory_form, move, store, write_msr
from tests.equivalence.kinds import Piece, kind
from tests.equivalence.kinds_code import INC_EAX, INC_EBX, KEEP_EAX, KEEP_EBX, signed, text

POINTER: Final = at.DATA + 0xB00
FS_BASE, GS_BASE = 0xC0000100, 0xC0000101


@kind(4)
def jump_or_call_by_register(choose: Random) -> Piece:
    """To the instruction behind the next two, by any register but RSP; then back by RET where it was a CALL."""
    register = choose.choice((0, 1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 15))
    lea = bytes([0x48 | (register >> 3) << 2, 0x8D, 0x05 | (register & 7) << 3])
    rex = b"\x41" if register >> 3 else b""
    if choose.random() < 0.5:
        jump = rex + bytes([0xFF, 0xE0 | register & 7])
        return Piece(lea + signed(len(jump) + 2) + jump + INC_EAX + INC_EBX + KEEP_EBX)
    call = rex + bytes([0xFF, 0xD0 | register & 7])
    return Piece(lea + signed(len(call) + 4) + call + INC_EAX + b"\xeb\x03" + INC_EBX + b"\xc3" + KEEP_EBX)


@kind(4)
def jump_by_memory(choose: Random) -> Piece:
    """By [RBX], [RBX + RCX * 8], [disp32], [EBX] and [RBX + disp]."""
    form = choose.choice(
        (
            b"\xff\x23", b"\xff\x24\xcb", b"\xff\x24\x25" + signed(POINTER), b"\x67\xff\x23", b"\xff\x63\x00",
            b"\xff\xa3" + bytes(4), b"\xff\x14\x25" + signed(POINTER), b"\xff\x13", b"\xff\x14\xcb", b"\x67\xff\x13",
        )
    )  # fmt: skip
    begin = memory_form(b"\x48\x89", 0, POINTER) + move(3, POINTER) + b"\x31\xc9"
    return Piece(b"\x48\x8d\x05" + signed(len(begin) + len(form) + 2) + begin + form + INC_EAX + INC_EBX + KEEP_EBX)


@kind(3)
def jump_by_segment(choose: Random) -> Piece:
    """Through FS or GS with a base that is not zero, set for the purpose."""
    base = choose.choice((at.DATA, 0x1000, MASK_64 - 0xFFF, at.WINDOW))
    displacement = (POINTER - base) & 0xFFFFFFFF
    prefix, msr = choose.choice(((b"\x64", FS_BASE), (b"\x65", GS_BASE)))
    form = prefix + b"\xff" + choose.choice((b"\x24\x25", b"\x14\x25")) + displacement.to_bytes(4, "little")
    begin = memory_form(b"\x48\x89", 0, POINTER)
    lea = b"\x48\x8d\x05"
    set_base = write_msr(msr, base & MASK_64)
    return Piece(set_base + lea + signed(len(begin) + len(form) + 2) + begin + form + INC_EAX + INC_EBX)


@kind(3)
def jump_by_relative_memory(choose: Random) -> Piece:
    """By a pointer that stands in the code, relative to RIP: written first, since a slot does not know its place."""
    form = choose.choice((b"\xff\x25", b"\xff\x15"))
    write = b"\x48\x8d\x05" + signed(7 + 6 + 8 + 2) + b"\x48\x89\x05" + signed(6)
    return Piece(write + form + signed(0) + bytes(8) + INC_EAX + INC_EBX + KEEP_EBX)


@kind(3)
def jump_by_table(choose: Random) -> Piece:
    """One of four small blocks, by their distances from the first."""
    blocks = b"".join(bytes([0x83, 0xC0, 1 << number]) for number in range(4))  # ADD EAX, imm8: it falls through
    turn = text("lea rdx, [rip + 6]; lea rdx, [rdx + rcx * 2]; add rdx, rcx; jmp rdx")
    turn = turn[:3] + signed(len(turn) - 7) + turn[7:]
    return Piece(move(1, choose.randrange(5)) + turn + blocks + KEEP_EAX)


@kind(2)
def jump_to_nowhere_by_memory(choose: Random) -> Piece:
    """A pointer that cannot be read, or that leads where nothing is: the fault is at the branch, or at its target."""
    where = choose.choice((at.UNMAPPED, at.NOT_CANONICAL, (1 << 47) - 4, (1 << 64) - 4))
    form = choose.choice((b"\xff\x23", b"\xff\x13"))
    if choose.random() < 0.5:
        return Piece(INC_EAX + move(3, where) + form)
    return Piece(store(POINTER, where) + move(3, POINTER) + form)


@kind(4)
def return_address_read(choose: Random) -> Piece:
    """CALL and POP, in the ways by which position-independent code finds itself."""
    return Piece(
        text(
            choose.choice(
                (
                    "call next; next: pop rbx; mov [rip + 0x5000], rbx",
                    "call f; jmp over; f: mov rbx, [rsp]; mov [rip + 0x5000], rbx; ret; over: nop",
                    "call f; jmp over; f: push [rsp]; pop rbx; lea rcx, [rip]; sub rcx, rbx; ret; over: nop",
                    "xor eax, eax; call next; next: add [rsp], rax; pop rax; mov rbx, [rax]; mov [rip + 0x5000], rbx",
                    "call a; jmp over; a: call b; ret; b: mov rbx, [rsp + 8]; mov rcx, [rsp]; ret; over: nop",
                    "lea rbx, [rip + f]; call rbx; jmp over; f: pop rcx; push rcx; ret; over: nop",
                    "call f; .byte 0x68, 0x69, 0, 0; jmp over; f: pop rsi; lodsd; push rsi; ret; over: nop",
                )
            )
        )
    )


@kind(4)
def return_address_changed(choose: Random) -> Piece:
    """RET to where no CALL was: over an instruction, into the middle of one, to a pushed address, to the hole."""
    return Piece(
        text(
            choose.choice(
                (
                    "call f; inc eax; inc ebx; jmp over; f: add qword ptr [rsp], 2; ret; over: nop",
                    "lea rax, [rip + x]; push rax; ret; inc ebx; x: inc ecx",
                    "lea rax, [rip + x]; push rax; lea rax, [rip + y]; push rax; ret; inc ebx; y: ret; x: inc ecx",
                    "call f; mov eax, 0x90c3ff90; jmp over; f: inc qword ptr [rsp]; ret; over: nop",
                    "call f; jmp over; f: push rbx; mov rbx, [rsp + 8]; xchg rbx, [rsp]; ret 8; over: nop",
                    "push 1; shl qword ptr [rsp], 63; ret",
                    "lea rax, [rip + x]; push rax; ret 0x10; inc ebx; x: mov ecx, esp",
                    "lea rax, [rip + x]; xchg rax, [rsp - 8]; lea rsp, [rsp - 8]; ret; inc ebx; x: inc ecx",
                    "call f; inc eax; jmp over; f: lea rbx, [rip + over]; mov [rsp], rbx; ret; inc ebx; over: inc ecx",
                )
            )
        )
    )


@kind(3)
def return_and_release(choose: Random) -> Piece:
    """RET imm16 from a function that was handed words on the stack, and one whose return address is not there."""
    words = choose.choice((0, 1, 2))
    if choose.random() < 0.2:
        return Piece(
            move(4, choose.choice((at.UNMAPPED, at.NOT_CANONICAL))) + choose.choice((b"\xc3", b"\xc2\x08\x00"))
        )
    begin = b"\x53" * words + b"\xe8\x02\x00\x00\x00\xeb\x06" + INC_EBX + b"\x90" + b"\xc2" + bytes([8 * words, 0])
    return Piece(begin + b"\x48\x89\xe1" + KEEP_EBX)


@kind(1, erratum="RET that releases 32 KiB and more")
def return_and_release_much(_choose: Random) -> Piece:
    return Piece(b"\xe8\x02\x00\x00\x00\xeb\x03\xc2\x10\x80\x48\x89\xe1" + move(4, at.STACK))


@kind(2)
def call_through_the_stack(choose: Random) -> Piece:
    """CALL and JMP whose pointer is addressed by RSP, which is read before CALL changes it; CALL RSP."""
    return Piece(
        text(
            choose.choice(
                (
                    "lea rax, [rip + f]; push rax; call [rsp]; jmp over; f: inc ebx; ret; over: pop rcx",
                    "lea rax, [rip + f]; mov [rsp - 8], rax; call [rsp - 8]; jmp over; f: pop rbx; jmp rbx; over: nop",
                    "lea rax, [rip + x]; push rax; jmp [rsp]; inc eax; x: pop rcx",
                    "mov dword ptr [rsp], 0xc3c3c3ff; lea rbx, [rsp - 8]; call rsp",
                )
            )
        )
    )


@kind(4)
def middle_of_an_instruction(choose: Random) -> Piece:
    """A jump to bytes that have run as part of another instruction: as its immediate, or its own displacement."""
    return Piece(
        bytes.fromhex(
            choose.choice(
                (
                    "ebffc090",  # JMP to its own second byte: INC EAX
                    "e8ffffffffc058",  # CALL to its own last byte: INC EAX, then POP of the address behind the CALL
                    "b902000000b8ffc3eb02e2fa90",  # LOOP into the MOV: INC EBX; JMP over
                    "b90200000048b8ffc3ffc0eb029090e2f690",
                    "b90200000005ffc39090ffc975f8ffc3",
                    "b90300000068f99090905be2f990",
                    "7401b8ffc0ffc390",  # one way decodes MOV EAX, the other INC EAX; INC EBX
                    "7501b8ffc0ffc390",
                    "f8720181c3ffc0ffc390",
                    "b9020000006690e2fd90",  # into a prefixed NOP, without its prefix
                    "b902000000f3480fb8d9e2fa90",  # POPCNT, then without F3
                )
            )
        )
        + KEEP_EBX
    )


WIDE: Final = 1 << 32


@kind(4)
def loop_and_count(choose: Random) -> Piece:
    """LOOP, JRCXZ and JECXZ, with counts of both widths."""
    branch, counts = choose.choice(
        (
            (b"\xe2\xfa", (1, 2, 5)),
            (b"\x67\xe2\xf9", (1, 2, 5, WIDE + 1, WIDE + 2)),
            (b"\xe3\x02", (0, 1, WIDE)),
            (b"\x67\xe3\x02", (0, 1, WIDE, WIDE + 1)),
        )
    )
    return Piece(move(1, choose.choice(counts)) + INC_EBX + b"\x39\xc0" + branch + INC_EAX + KEEP_EBX)


@kind(2)
def loop_ended_by_a_flag(choose: Random) -> Piece:
    """LOOPNE that meets ZF, LOOPE that does not; a count is left."""
    return Piece(move(1, choose.choice((2, 5, WIDE + 2))) + INC_EBX + loop_on_flag(choose) + INC_EAX + KEEP_EBX)


@kind(1, erratum="LOOPE and LOOPNE that end by their count")
def loop_ended_by_its_count(choose: Random) -> Piece:
    return Piece(move(1, 1) + INC_EBX + loop_on_flag(choose) + INC_EAX + KEEP_EBX)


def loop_on_flag(choose: Random) -> bytes:
    """CMP EAX, EAX with LOOPNE, or TEST ESP, ESP with LOOPE, to the INC EBX before it."""
    opcode, compare = choose.choice(((0xE0, b"\x39\xc0"), (0xE1, b"\x85\xe4")))
    return compare + choose.choice((bytes([opcode, 0xFA]), bytes([0x67, opcode, 0xF9])))


@kind(3)
def conditional_both_ways(choose: Random) -> Piece:
    """Each condition, taken or not, near or short, forwards and back."""
    condition, flags = (
        choose.randrange(16),
        choose.choice((b"\x39\xc0", b"\x85\xe4", b"\xf9", b"\x3c\x80", b"\x00\xe0")),
    )
    if choose.random() < 0.5:
        return Piece(flags + bytes([0x0F, 0x80 | condition]) + signed(2) + INC_EAX + INC_EBX + KEEP_EBX)
    back = b"\xeb\x04" + INC_EBX + b"\xeb\x02" + bytes([0x70 | condition, 0xFA])
    return Piece(flags + back + INC_EAX + KEEP_EBX)


@kind(1)
def branch_with_prefixes(choose: Random) -> Piece:
    """Hints, REX, BND and repeated prefixes before branches change nothing of where they lead."""
    prefix = choose.choice(
        (b"\x2e", b"\x3e", b"\xf2", b"\xf3", b"\x48", b"\x40", b"\x4f", b"\xf2\x3e", b"\x67", b"\x36" * 6)
    )
    branch = choose.choice(
        (b"\xeb\x02", b"\x75\x02", b"\xe9\x02\x00\x00\x00", b"\x0f\x84\x02\x00\x00\x00", b"\xe8\x02\x00\x00\x00")
    )
    return Piece(prefix + branch + INC_EAX + INC_EBX + KEEP_EBX)
