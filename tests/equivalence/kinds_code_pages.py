"""Pages of code: functions at two addresses of one frame, changed through either; code across pages; pages moved,
taken away and forbidden under what has run there.

The functions (layout.CODE_FRAMES) are shared by all slots, so what one has changed is what the next one calls.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import control, memory_form, move, store
from tests.equivalence.harness import PRESENT_RWU
from tests.equivalence.kinds import Piece, kind
from tests.equivalence.kinds_code import SINGLES
from tests.equivalence.kinds_transfers import BACK, to_user

PRESENT, WRITE, USER, NX = 1, 2, 4, 1 << 63
# What may stand in a function's gap: up to 8 bytes.
GAPS: Final = tuple(
    map(
        bytes.fromhex,
        (
            "90", "c3", "ffc3c3", "488b0c24", "488b042490c3", "0f0b", "fa", "fb90", "530fa25b", "cc", "cd90", "f7f6",
            "eb02ffc0", "e8000000005a", "488d0500000000", "8b05fbffffff", "e83b000000", "e92f000000", "0f20d8",
            "68900000005a", "5a52", "48830424005951",
        ),
    )
)  # fmt: skip


def function(choose: Random) -> int:
    """The address of one, by either way to its frame."""
    offset = 0x1000 * choose.randrange(at.CODE_FRAMES_MOST) + at.FUNCTION_BYTES * choose.randrange(at.FUNCTIONS)
    return choose.choice((at.CODE_FRAMES, at.CODE_WINDOW)) + offset


def call(place: int) -> bytes:
    return move(3, place) + b"\xff\xd3"


def entry_of(page: int) -> int:
    """The address of the entry that maps a page of CODE_WINDOW."""
    return at.WINDOW_TABLE + 8 * (at.CODE_PAGE + page)


def invalidate(page: int) -> bytes:
    return memory_form(b"\x0f\x01", 7, at.CODE_WINDOW + 0x1000 * page)


def patch(choose: Random, place: int) -> bytes:
    """A store into a function: of its number, or into its gap."""
    if choose.random() < 0.4:
        return memory_form(b"\xc6", 0, place + choose.randrange(1, 5)) + choose.randbytes(1)
    code = choose.choice(GAPS)
    if len(code) <= 2:
        return memory_form(b"\x66\xc7", 0, place + at.FUNCTION_GAP + choose.choice((0, 6))) + code.ljust(2, b"\x90")
    return store(place + at.FUNCTION_GAP, int.from_bytes(code.ljust(8, b"\x90"), "little"))


@kind(5)
def call_a_function(choose: Random) -> Piece:
    return Piece(call(function(choose)) + call(function(choose)))


@kind(1, erratum="code written again by an address in the TLB")
def change_a_function(choose: Random) -> Piece:
    """Call it, change it, call it again."""
    one = function(choose)
    return Piece(call(one) + patch(choose, one) + call(one))


def alias(place: int) -> int:
    """The other way to the same byte."""
    if place >= at.CODE_WINDOW:
        return place - at.CODE_WINDOW + at.CODE_FRAMES
    return place - at.CODE_FRAMES + at.CODE_WINDOW


@kind(4)
def function_at_user_level(choose: Random) -> Piece:
    """Called at CPL 3, where no translation stands between; or changed there."""
    place = function(choose)
    if choose.random() < 0.5:
        return Piece(to_user(), patch(choose, place) + call(place) + BACK)
    return Piece(to_user(), call(place) + BACK)


@kind(4)
def page_moved(choose: Random) -> Piece:
    """Another frame's code at an address that has run: by its entry and INVLPG."""
    page, frame = choose.randrange(at.CODE_FRAMES_MOST), choose.randrange(at.CODE_FRAMES_MOST)
    place = call(at.CODE_WINDOW + 0x1000 * page + at.FUNCTION_BYTES * choose.randrange(at.FUNCTIONS))
    entry = at.CODE_FRAMES + 0x1000 * frame | PRESENT_RWU
    return Piece(place + store(entry_of(page), entry) + invalidate(page) + b"\xff\xd3")


@kind(4)
def other_address_space(choose: Random) -> Piece:
    """Another frame's code at an address that has run: by CR3."""
    place = at.CODE_WINDOW + 0x1000 * choose.randrange(4) + at.FUNCTION_BYTES * choose.randrange(at.FUNCTIONS)
    roots = choose.choice(((at.ROOT, at.OTHER_ROOT), (at.OTHER_ROOT, at.ROOT)))
    code = b"".join(move(0, root) + control(3, 0, write=True) + b"\xff\xd3" for root in roots)
    return Piece(call(place) + code)


@kind(4)
def page_forbidden(choose: Random) -> Piece:
    """Code that has run is not there any more, not to be executed, not the user's, or not to be written."""
    page = choose.randrange(at.CODE_FRAMES_MOST)
    place = at.CODE_WINDOW + 0x1000 * page + at.FUNCTION_BYTES * choose.randrange(at.FUNCTIONS)
    flags = choose.choice((PRESENT | NX, 0, PRESENT | WRITE, PRESENT | USER, PRESENT | NX, PRESENT_RWU | 1 << 51))
    entry = at.CODE_FRAMES + 0x1000 * page | flags
    return Piece(call(place) + store(entry_of(page), entry) + invalidate(page) + b"\xff\xd3")


@kind(3)
def page_back(choose: Random) -> Piece:
    """Code as it was first, at its page."""
    page = choose.randrange(at.CODE_FRAMES_MOST)
    entry = at.CODE_FRAMES + 0x1000 * page | PRESENT_RWU
    return Piece(store(entry_of(page), entry) + invalidate(page) + call(at.CODE_WINDOW + 0x1000 * page))


@kind(4)
def instruction_across_pages(choose: Random) -> Piece:
    """MOV RAX, imm64; RET with its first bytes at the end of a page, and the rest on the next one, or on none."""
    base, page = choose.choice(((at.CODE_FRAMES, 3), (at.CODE_WINDOW, 4)))
    begin = base + 0x1000 * choose.randrange(1, page + 1) - choose.randrange(1, 10)
    value = bytes(choose.choices(SINGLES, k=8))  # which is code as well: the next page may be called
    write = move(7, begin) + b"\x66\xc7\x07\x48\xb8" + b"\xc7\x47\x02" + value[:4]
    write += b"\xc7\x47\x06" + value[4:] + b"\xc6\x47\x0a\xc3"
    return Piece(write + b"\xff\xd7")


@kind(3)
def instruction_across_moved_pages(choose: Random) -> Piece:
    """The page behind a boundary is changed or taken away; a MOV across it is called before and after."""
    page, frame = choose.randrange(1, at.CODE_FRAMES_MOST), choose.randrange(at.CODE_FRAMES_MOST)
    begin = at.CODE_WINDOW + 0x1000 * page - choose.randrange(1, 5)
    flags = choose.choice((PRESENT_RWU, PRESENT_RWU, 0, PRESENT | NX))
    code = (
        move(3, begin)
        + b"\xc6\x03\xb8\xff\xd3"
        + store(entry_of(page), at.CODE_FRAMES + 0x1000 * frame | flags)
        + invalidate(page)
    )
    return Piece(code + b"\xff\xd3")


@kind(3)
def moved_under_itself(choose: Random) -> Piece:
    """A function that loads CR3 goes on in what the other address space has at its address, or has not."""
    page, root = choose.randrange(at.CODE_FRAMES_MOST), choose.choice((at.ROOT, at.OTHER_ROOT))
    place = at.CODE_WINDOW + 0x1000 * page + at.FUNCTION_BYTES * choose.randrange(at.FUNCTIONS)
    write = store(place + at.FUNCTION_GAP, int.from_bytes(move(5, root) + b"\x0f\x22\xdd", "little"))  # MOV CR3, RBP
    flags = choose.choice((PRESENT_RWU, PRESENT_RWU, PRESENT | NX, 0))
    entry = at.OTHER_TABLE + 8 * (at.CODE_PAGE + page)
    change = store(entry, at.CODE_FRAMES + 0x1000 * (page ^ 1) | flags) + invalidate(page)
    return Piece(write + change + call(place))


@kind(2)
def ends_of_the_linear_space(choose: Random) -> Piece:
    """Jumps to the last bytes below the hole, to the hole, and to the last bytes of all."""
    low, high = 1 << 47, (1 << 64) - (1 << 47)
    place = choose.choice((low - 1, low, high - 1, high, (1 << 64) - 1, 1 << 63))
    return Piece(move(3, place) + choose.choice((b"\xff\xd3", b"\xff\xe3", b"\x53\xc3")))


@kind(1, erratum="code written through an address that is no-execute")
def written_where_it_may_not_be_run(choose: Random) -> Piece:
    """A function's number, through a page that is NX, between two calls of it by its other address."""
    page = choose.randrange(at.CODE_FRAMES_MOST)
    change = store(entry_of(page), at.CODE_FRAMES + 0x1000 * page | PRESENT_RWU | NX) + invalidate(page)
    place = at.CODE_WINDOW + 0x1000 * page
    return Piece(
        change
        + memory_form(b"\xc6", 0, place + 0x800)
        + b"\x01"
        + call(alias(place))
        + b"\xc6\x83"
        + (place + 2 - alias(place)).to_bytes(4, "little")
        + choose.randbytes(1)
        + b"\xff\xd3"
    )


@kind(1, erratum="code at linear address 0")
def code_at_address_zero(choose: Random) -> Piece:
    """INT3 written there, and run."""
    return Piece(move(3, 0) + b"\xc6\x03\xcc" + choose.choice((b"\xff\xd3", b"\xff\xe3", b"\x53\xc3")))


@kind(1, erratum="code that runs on into a page that is not there")
def running_on(_choose: Random) -> Piece:
    """INC EAX in the last two bytes of what is mapped."""
    begin = at.CODE_WINDOW + 0x1000 * at.CODE_FRAMES_MOST - 2
    return Piece(move(3, begin) + b"\x66\xc7\x03\xff\xc0\xff\xd3")


@kind(2)
def memory_ends_within_code(choose: Random) -> Piece:
    """MOV EAX, imm32 across the end of what is mapped, a fault at its begin; or across that of memory, an end."""
    window_end = at.CODE_WINDOW + 0x1000 * at.CODE_FRAMES_MOST
    begin = (window_end if choose.random() < 0.9 else at.END) - choose.randrange(1, 5)
    return Piece(move(3, begin) + b"\xc6\x03\xb8\xff\xd3")
