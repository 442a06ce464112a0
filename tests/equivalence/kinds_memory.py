"""Page tables edited and used, strings across pages that fault, stacks that are none, and what divides by 0."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import INTO, load, memory_form, move, push, store
from tests.equivalence.harness import PRESENT_RWU, frame_entry
from tests.equivalence.kinds import Piece, kind

PRESENT, WRITE, USER, ACCESSED, DIRTY, LARGE, GLOBAL, NX = 1, 2, 4, 0x20, 0x40, 0x80, 0x100, 1 << 63
RESERVED: Final = (1 << 45, 1 << 51)


def window(choose: Random) -> int:
    return at.WINDOW + 0x1000 * choose.randrange(at.FRAMES_MOST + 2)


def access(choose: Random, gva: int) -> bytes:
    """A read, a write, an addition or a locked one, at an offset that may cross into the next page."""
    place = gva + choose.choice((0, 8, 0x7F8, 0xFF8, 0xFFC))
    opcode = choose.choice(
        (b"\x48\x8b", b"\x48\x89", b"\x48\x01", b"\xf0\x48\x01", b"\x48\x87", b"\x8a", b"\x88", b"\x0f\xb7")
    )
    return memory_form(opcode, choose.choice((0, 1, 2, 3, 6, 7)), place)


def entry(choose: Random) -> int:
    frame = frame_entry(choose.randrange(at.FRAMES_MOST), PRESENT)
    for bit, likely in ((WRITE, 0.7), (USER, 0.7), (ACCESSED, 0.5), (DIRTY, 0.3), (GLOBAL, 0.2), (NX, 0.2)):
        frame |= bit if choose.random() < likely else 0
    if choose.random() < 0.15:
        frame &= ~PRESENT
    if choose.random() < 0.1:
        frame |= choose.choice(RESERVED)
    return frame


@kind(6)
def edit_a_page(choose: Random) -> Piece:
    """A window entry changed, invalidated, and used."""
    page = choose.randrange(at.FRAMES_MOST + 2)
    gva = at.WINDOW + 0x1000 * page
    invalidate = memory_form(b"\x0f\x01", 7, gva)
    return Piece(store(at.WINDOW_TABLE + 8 * page, entry(choose)) + invalidate + access(choose, gva))


@kind(4)
def use_the_window(choose: Random) -> Piece:
    return Piece(access(choose, window(choose)) + access(choose, window(choose)))


@kind(2)
def edit_a_directory(choose: Random) -> Piece:
    """The window's directory: another table, none, or a page of 2 MiB; every translation dropped."""
    value = choose.choice(
        (
            at.WINDOW_TABLE | PRESENT_RWU, at.WINDOW_TABLE | PRESENT_RWU, at.OTHER_TABLE | PRESENT_RWU,
            at.WINDOW_TABLE | PRESENT, 0, PRESENT_RWU | LARGE, PRESENT_RWU & ~WRITE | LARGE, PRESENT | LARGE,
            PRESENT_RWU | LARGE | 1 << 13, at.WINDOW_TABLE | PRESENT_RWU | NX,
        )
    )  # fmt: skip
    reload = b"\x0f\x20\xda\x0f\x22\xda"
    return Piece(store(at.WINDOW_DIRECTORY, value) + reload + access(choose, at.WINDOW + 0x1000 * choose.randrange(4)))


@kind(1)
def table_that_maps_itself(choose: Random) -> Piece:
    """A table seen through a page that it maps; then the page leads to a frame again."""
    page = choose.randrange(at.FRAMES_MOST)
    gva, entry_at = at.WINDOW + 0x1000 * page, at.WINDOW_TABLE + 8 * page
    drop = memory_form(b"\x0f\x01", 7, gva)
    value = choose.choice((at.WINDOW_TABLE, at.WINDOW_DIRECTORY, at.ROOT)) | PRESENT_RWU
    return Piece(store(entry_at, value) + drop + load(0, gva) + store(entry_at, frame_entry(page)) + drop)


@kind(3)
def invalidate(choose: Random) -> Piece:
    gva = choose.choice((at.WINDOW, at.DATA, at.CODE, at.UNMAPPED, at.NOT_CANONICAL))
    return Piece(move(3, gva) + b"\x0f\x01\x3b")


@kind(3)
def touch_what_is_not_there(choose: Random) -> Piece:
    register = choose.choice((3, 6, 7))
    gva = choose.choice((at.UNMAPPED, at.NOT_CANONICAL, at.WINDOW + (1 << 21), (1 << 64) - 4, (1 << 47) - 4, 3 << 30))
    return Piece(move(register, gva) + choose.choice((b"\x48\x8b", b"\x48\x89", b"\x48\x01")) + bytes([register]))


@kind(2)
def run_what_is_not_there(choose: Random) -> Piece:
    gva = choose.choice((at.UNMAPPED, at.NOT_CANONICAL, at.WINDOW, at.WINDOW + 0x1000, at.DATA))
    if gva in (at.WINDOW, at.WINDOW + 0x1000, at.DATA):
        return Piece(move(0, 0xC3C3C3C3) + memory_form(b"\x89", 0, gva) + move(3, gva) + b"\xff\xd3")
    return Piece(move(3, gva) + choose.choice((b"\xff\xd3", b"\xff\xe3")))


@kind(4)
def string_instruction(choose: Random) -> Piece:
    places = (
        at.DATA,
        at.DATA + 0x1FF0,
        at.WINDOW + 0xFF0,
        at.WINDOW + 0x2FF8,
        at.WINDOW + 0x7FF0,
        at.UNMAPPED,
        at.TABLE - 0x10,
    )
    begin = move(6, choose.choice(places[:5])) + move(7, choose.choice(places[:5] * 4 + places[5:]))
    begin += move(1, choose.choice((0, 1, 3, 17, 64)))
    back = choose.random() < 0.2
    code = choose.choice(
        (b"\xf3\xa4", b"\xf3\x48\xa5", b"\xf3\xaa", b"\xf3\x48\xab", b"\xf3\xa6", b"\xf2\xae", b"\xa5", b"\xac")
    )
    return Piece(begin + (b"\xfd" if back else b"") + code + b"\xfc")


@kind(1)
def stack_nowhere(choose: Random) -> Piece:
    """PUSH, CALL or an event with RSP where no stack is: the event gets one by IST or not at all."""
    top = choose.choice((at.UNMAPPED, at.NOT_CANONICAL, at.WINDOW + 0x1000 * (at.FRAMES_MOST + 1), 8))
    return Piece(move(4, top) + choose.choice((b"\x50", b"\x0f\x0b", b"\xcd\x90", b"\xe8\x00\x00\x00\x00", b"\x58")))


@kind(2)
def divide(choose: Random) -> Piece:
    return Piece(move(1, choose.choice((0, 1, 3))) + choose.choice((b"\x48\xf7\xf1", b"\xf7\xf9", b"\xf6\xf1")))


@kind(4)
def compute(choose: Random) -> Piece:
    """Harmless work between the others, so that registers and flags carry what came before."""
    code = b""
    for _ in range(choose.randrange(1, 5)):
        a, b = choose.choice(INTO) & 7, choose.choice(INTO) & 7
        a, b = (0 if a == 4 else a), (0 if b == 4 else b)
        opcode = choose.choice((0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x87, 0x89))
        code += bytes([0x48, opcode, 0xC0 | b << 3 | a])
    return Piece(code)


@kind(2)
def write_register(choose: Random) -> Piece:
    return Piece(move(choose.choice(INTO), choose.getrandbits(choose.choice((8, 31, 64)))))


@kind(1)
def rewrite_code(choose: Random) -> Piece:
    """Store over the instruction that follows in the same block: an INC of EAX becomes one of EBX."""
    change = b"\xc6\x05\x01\x00\x00\x00" + choose.choice((b"\xc3", b"\xc7"))  # MOV byte [RIP + 1], ModRM
    return Piece(change + b"\xff\xc0")


@kind(1)
def unencodable(choose: Random) -> Piece:
    """LOCK where it may not stand, prefixes past 15 bytes, reserved ModRM forms."""
    return Piece(
        choose.choice(
            (b"\xf0\x90", b"\xf0\x8b\x03", b"\x66" * 15 + b"\x90", b"\x2e" * 14 + b"\x90\x90", b"\x8e\xf8",
             b"\x0f\x20\xc8", b"\xfe\xd0", b"\xff\xff", b"\x8d\xc0", b"\x0f\x00\xf0", b"\xc4\xe2\xc0", b"\x62\xf1\x00")
        )
    )  # fmt: skip


@kind(2)
def leave_frames(choose: Random) -> Piece:
    return Piece(
        choose.choice(
            (
                b"\xc8\x10\x00\x00\xc9",
                b"\xc8\x20\x00\x02\xc9",
                push(choose.getrandbits(31)) + b"\x5b",
                b"\x48\x0f\xc7\x0c\x25" + (at.DATA + 64).to_bytes(4, "little"),
            )
        )
    )
