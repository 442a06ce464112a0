"""Code that is written over while it runs: ahead in the same block, behind it, the block itself, by any kind of store.

A piece reaches its own bytes relative to RIP, so it is the same in every slot. Registers and DATA keep what ran.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import move
from tests.equivalence.kinds import Piece, kind
from tests.pv.engines.unicorn.guests import assemble

# What instructions of one and of two bytes may become: arithmetic, flags, events, exits, a prefix of the next.
SINGLES: Final = (0x90, 0xF8, 0xF9, 0xF5, 0xFA, 0xFB, 0xCC, 0x99, 0x98, 0x27)
PREFIXES: Final = (0x66, 0x48, 0xF2, 0xF3, 0x64, 0x2E, 0xF0, 0x67)
PAIRS: Final = tuple(
    bytes.fromhex(one)
    for one in ("ffc0", "ffc3", "ffcb", "f7d0", "0f0b", "cd90", "0fa2", "0f06", "31c0", "87d9", "f7f1", "eb00", "6a07")
)
UNCOUNTED: Final = tuple(one for one in PAIRS if one not in (b"\x0f\xa2", b"\x87\xd9"))  # those that leave RCX alone
FRESH: Final = (at.DATA + 0x1000, at.DATA + 0x1F00, at.WINDOW + 0x2000, at.FRAMES + 0x5000)  # frames no code stands in
INC_EAX, INC_EBX, RET = b"\xff\xc0", b"\xff\xc3", b"\xc3"


@cache
def text(source: str) -> bytes:
    """Machine code that does not say where it stands. No absolute address: the assembler makes it relative."""
    return assemble(source, 0)


KEEP_EAX: Final = text("mov [rip + 0x5000], eax")  # in any slot, this lies in DATA
KEEP_EBX: Final = text("mov [rip + 0x5010], ebx")


def signed(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)


def pairs(choose: Random, count: int) -> bytes:
    return b"".join(choose.choices(PAIRS, k=count))


def filler(choose: Random, most: int = 6) -> bytes:
    """Harmless instructions, so that what follows is not the block's second."""
    return b"".join(choose.choices((b"\x90", b"\xff\xc2", b"\xf5", b"\x31\xd2"), k=choose.randrange(most)))


def store_ahead(distance: int, value: bytes) -> bytes:
    """MOV [RIP + distance], value of 1, 2 or 4 bytes."""
    return {1: b"\xc6\x05", 2: b"\x66\xc7\x05", 4: b"\xc7\x05"}[len(value)] + signed(distance) + value


def back(size: int) -> bytes:
    """LOOP over the `size` bytes before it."""
    return b"\xe2" + (256 - size - 2).to_bytes(1, "little")


@kind(4)
def immediate_ahead(choose: Random) -> Piece:
    """The immediate of an instruction further on in the same block."""
    between, value = filler(choose), choose.randbytes(choose.choice((1, 2, 4)))
    return Piece(store_ahead(len(between) + 1, value) + between + b"\xbb" + choose.randbytes(4) + KEEP_EBX)


@kind(4)
def instruction_ahead(choose: Random) -> Piece:
    """Another instruction in place of one further on."""
    between = filler(choose)
    return Piece(store_ahead(len(between), pairs(choose, 1)) + between + b"\x90\x90" + INC_EBX + KEEP_EBX)


@kind(2)
def one_byte_ahead(choose: Random) -> Piece:
    """A whole instruction of one byte, or a prefix in front of the next."""
    between, new = filler(choose), bytes([choose.choice(SINGLES + PREFIXES)])
    return Piece(store_ahead(len(between), new) + between + b"\x90" + INC_EAX + b"\x90" + KEEP_EAX)


@kind(2)
def length_ahead(choose: Random) -> Piece:
    """An opcode whose length differs from the old one's, so that all behind it is decoded anew."""
    between, new = filler(choose), choose.choice((b"\xb8", b"\x05", b"\x3c", b"\xa8", b"\x81"))
    return Piece(store_ahead(len(between), new) + between + b"\x90\xc3\xc0\xc1\xc2\x90\x90\x90" + KEEP_EAX)


@kind(4)
def block_that_runs(choose: Random) -> Piece:
    """A loop whose every turn changes the immediate that the next one adds."""
    change = choose.choice(
        (
            "inc byte ptr [rip + add + 2]",
            "xor byte ptr [rip + add + 2], 0x55",
            "rol byte ptr [rip + add + 2], 3",
            "add [rip + add + 2], cl",
        )
    )
    loop = text(f"again: {change}; nop; add: add ebx, 0x10; dec ecx; jnz again")
    return Piece(move(1, choose.choice((2, 3, 9, 40))) + loop + KEEP_EBX)


@kind(3)
def block_behind(choose: Random) -> Piece:
    """An instruction of a block that has run is changed from another block, and run again."""
    body = INC_EBX + b"\xeb\x00" + KEEP_EBX
    body += store_ahead(-len(body) - 9, choose.choice(UNCOUNTED))
    return Piece(move(1, 2) + body + back(len(body)))


@kind(2)
def often_written(choose: Random) -> Piece:
    """Data beside the code that writes it: more writes to the page than a monitor wants to take as faults."""
    loop = text("again: add [rip + word], ecx; mov eax, [rip + word]; loop again; jmp over; word: .long 7; over: nop")
    return Piece(move(1, choose.choice((3, 12, 60, 200))) + loop + KEEP_EAX)


@kind(3)
def string_over_code(choose: Random) -> Piece:
    """REP STOSB over the instructions behind it."""
    fill = b"\xb9" + signed(2 * choose.randrange(1, 7)) + b"\xb0" + bytes([choose.choice(SINGLES)]) + b"\xf3\xaa"
    return Piece(b"\xfc\x48\x8d\x3d" + signed(len(fill)) + fill + (INC_EAX + INC_EBX) * 3 + KEEP_EBX)


@kind(3)
def code_over_code(choose: Random) -> Piece:
    """REP MOVSB of other instructions of the slot over those behind it."""
    size = choose.choice((2, 4, 6, 8))
    begin = text(f"cld; lea rsi, [rip + 24]; lea rdi, [rip + 7]; mov ecx, {size}; rep movsb")
    return Piece(begin + INC_EAX * 4 + b"\xeb\x08" + pairs(choose, 4))


@kind(1)
def string_over_itself(choose: Random) -> Piece:
    """REP STOSB that begins at, or before, its own two bytes and writes over them on its way.

    Not with its last element: the engine looks at the bytes once more before it finds that it is done.
    """
    count, fill, before = choose.randrange(1, 12), choose.choice((0x90, 0xF8, 0xF9, 0xFC)), choose.randrange(5)
    count += 2 if before < count <= before + 2 else 0
    begin = b"\xfc\x48\x8d\x3d" + signed(11 - before) + b"\xb9" + signed(count) + b"\xb0" + bytes([fill])
    return Piece(begin + b"\x90" * 4 + b"\xf3\xaa" + b"\x90" * 12)


@kind(3)
def code_on_a_fresh_page(choose: Random) -> Piece:
    """MOV AL, imm8; RET written and called, changed and called again."""
    write = b"\xc7\x03\xb0" + choose.randbytes(1) + b"\xc3\x90"
    change = b"\xc6\x43\x01" + choose.randbytes(1)
    call = b"\xff\xd3\x0f\xb6"  # CALL RBX; MOVZX of AL
    return Piece(
        move(3, choose.choice(FRESH) + choose.choice((0, 8, 0xFD))) + write + call + b"\xf0" + change + call + b"\xf8"
    )


MOVABLE: Final = ("add ebx, [rip - 8]; ret", "mov rbx, [rsp]; ret", "call next; next: pop rbx; ret", "inc ebx; ret 0")


@kind(3)
def code_moved(choose: Random) -> Piece:
    """A function of the slot's copied elsewhere by REP MOVSB, and called there; relative operands move along."""
    place = move(7, choose.choice(FRESH) + choose.choice((0, 0x20, 0xF0)))
    code = place + move(1, 16) + b"\xf3\xa4" + place + b"\xff\xd7\xeb\x10"
    return Piece(b"\xfc\x48\x8d\x35" + signed(len(code)) + code + text(choose.choice(MOVABLE)).ljust(16, b"\xcc"))


@kind(2)
def long_straight_block(choose: Random) -> Piece:
    """Hundreds of instructions in a row, longer than any block may be."""
    pattern = choose.choice((b"\xff\xc3\xff\xc0", b"\x90\x90\x90\x90", b"\xff\xc2\x90\xf5", b"\x48\xff\xc3\x90"))
    begin = b"\xfc" + move(7, choose.choice((at.DATA + 0x1000, at.FRAMES + 0x6000))) + b"\x57"
    fill = move(0, int.from_bytes(pattern, "little")) + move(1, choose.choice((33, 64, 65, 130, 500))) + b"\xf3\xab"
    return Piece(begin + fill + b"\xc6\x07\xc3\x5f\xff\xd7" + KEEP_EBX)


@kind(3)
def patched_branch(choose: Random) -> Piece:
    """The displacement of a branch that has been taken is changed, and the branch taken again: over INC EAX."""
    opcode, size = choose.choice(((b"\xe9", 4), (b"\xe8", 4), (b"\xeb", 1), (b"\x0f\x85", 4), (b"\x75", 1)))
    branch = opcode + bytes(size)
    body = branch + INC_EAX + INC_EBX
    body += store_ahead(len(opcode) - len(body) - 7, b"\x02")
    return Piece(move(1, 2) + body + back(len(body)))


@kind(3)
def written_by_push(choose: Random) -> Piece:
    """PUSH over the instructions behind it: the stack lies on code, and so does the frame of an event there."""
    store = choose.choice((b"\x50", b"\x50", b"\x48\x89\x44\x24\xf8"))
    begin = move(0, int.from_bytes(pairs(choose, 4), "little")) + b"\x48\x8d\x25" + signed(8 + len(store))
    return Piece(begin + store + INC_EAX * 4 + move(4, at.STACK) + KEEP_EAX)


@kind(2)
def written_with_lock(choose: Random) -> Piece:
    """Read-modify-write of the instructions ahead: arithmetic, exchange, compare and exchange."""
    change = choose.choice(
        (
            "lock add byte ptr [rip + over + 1], 3", "xchg [rip + over], bx", "lock xor byte ptr [rip + over + 1], 8",
            "not byte ptr [rip + over + 1]", "mov eax, 0xc3ffc0ff; lock cmpxchg [rip + over], ebx",
            "shl byte ptr [rip + over + 1], 1", "lock bts word ptr [rip + over], 8", "adc byte ptr [rip + over + 1], 2",
        )
    )  # fmt: skip
    begin = b"\xbb" + pairs(choose, 1) + INC_EAX
    return Piece(begin + text(f"{change}; nop; over: inc eax; inc ebx") + KEEP_EBX)


@kind(3)
def eight_bytes_ahead(choose: Random) -> Piece:
    """Four instructions at once: by MOV, MOVNTI, XCHG, POP, STOSQ, MOVSQ and FISTP."""
    store = choose.choice(
        (
            "mov [rip + over], rax", "movnti [rip + over], rax", "xchg [rip + over], rax",
            "push rax; pop qword ptr [rip + over]", "cld; lea rdi, [rip + over]; stosq",
            "cld; push rax; mov rsi, rsp; lea rdi, [rip + over]; movsq",
            "push rax; fild qword ptr [rsp]; fistp qword ptr [rip + over]",
            "movq xmm0, rax; movq qword ptr [rip + over], xmm0",
        )
    )  # fmt: skip
    code = text(f"{store}; over: inc eax; inc eax; inc eax; inc eax")
    return Piece(move(0, int.from_bytes(pairs(choose, 4), "little")) + code + KEEP_EAX)


@kind(3)
def own_bytes_as_data(choose: Random) -> Piece:
    """The slot's bytes read: what a guest finds there is what it wrote there."""
    return Piece(
        choose.choice(
            (
                text("x: lea rsi, [rip + x]; mov ecx, 40; xor eax, eax; l: add al, [rsi + rcx]; rol eax, 5; loop l"),
                text("mov rax, [rip - 7]; mov rbx, [rip]; mov ecx, [rip + 1]"),
                text("cmp dword ptr [rip + next], 0xc0ff9090; next: nop; nop; inc eax; setz bl"),
                text("lea rsi, [rip]; movups xmm0, [rsi]; movups [rip + 0x5020], xmm0"),
                text("cld; lea rsi, [rip - 7]; lea rdi, [rip + 0x5040]; mov ecx, 20; rep movsb"),
                text("cld; lea rsi, [rip - 7]; lea rdi, [rip - 14]; mov ecx, 7; repe cmpsb; mov ebx, ecx"),
            )
        )
        + KEEP_EAX
    )


@kind(2, hole="FNSTENV")
def address_of_the_last_x87_instruction(choose: Random) -> Piece:
    """FNSTENV, FNSAVE and FXSAVE keep where it stood, its code segment and its operand."""
    save = choose.choice(("fnstenv", "fnsave", "fxsave", "fxsave64"))
    place = b"\xbb" + signed(at.DATA + 0x400)
    return Piece(place + text("fninit; fld1; fld qword ptr [rbx]; fstp st(0); " + f"{save} [rbx]"))
