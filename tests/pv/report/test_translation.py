"""Blocks as text: both sides of each instruction, and where jumps lead."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.report.translation import Block, from_cache, lines, listing
from pv.translate.block import Translator
from tests.pv.engines.unicorn.guests import assemble
from tests.pv.translate.laboratory import LOW, Virtual


def block(code: bytes | str, *, checked: bool = False) -> Block:
    code = assemble(code, LOW) if isinstance(code, str) else code
    made = Translator(Virtual()).translate(LOW, code, 4096, 0x10, checked)
    return Block(LOW, code[: made.source_bytes], 0x5000, made.code, made.map, made.links)


def chained(fresh: Block, link: int, distance: int) -> Block:
    """The block as the core leaves it once that link leads to `distance` from the start of the block."""
    stub, _, field = fresh.links[link]
    code = bytearray(fresh.code)
    at, jump = (field, b"") if field >= 0 else (stub, b"\xf2\xe9")
    code[at : at + len(jump) + 4] = jump + (distance - at - len(jump) - 4).to_bytes(4, "little", signed=True)
    return fresh._replace(code=bytes(code))


def sides(shown: Block) -> list[tuple[str, str, str]]:
    return [(line.guest, line.cache, line.why) for line in lines(shown)]


def test_both_sides() -> None:
    assert sides(block("mov rax, rbx; sti; sgdt [rbx]; cpuid; ret")) == [
        ("mov rax, rbx", "mov rax, rbx", ""),
        ("sti", "bndmk bnd0, [1]", "STI"),
        ("", "bndcu bnd1, [1]", ""),
        ("sgdt [rbx]", "mov word [rbx], 0x7F", "SGDT SIDT SLDT STR SMSW"),
        ("", "mov dword [rbx+2], 0x87654321", ""),
        ("", "mov dword [rbx+6], 0xFFFFFFFF", ""),
        ("cpuid", "INSTRUCTION", "CPUID RDTSC RDTSCP"),
        ("ret", "RETURN", "RET"),
    ]


def test_jumps_name_where_they_lead() -> None:
    """In the block by offset, else the stub until the target is translated, then the guest's address."""
    fresh = block(bytes.fromhex("7410 e20e ffc8 75fa eb70"))
    assert sides(fresh) == [
        ("je 0x100012", "je +47", "Jcc"),
        ("loop 0x100012", "loop +12", "LOOP JRCXZ"),
        ("", "jmp +25", ""),
        ("", "LINK 0x100012", ""),
        ("dec eax", "dec eax", ""),
        ("jne 0x100002", "jne +7", "Jcc"),
        ("jmp 0x10007A", "LINK 0x10007a", "JMP"),
        ("", "LINK 0x100012", ""),
    ]
    late = sides(chained(chained(fresh, 1, -0x300), 2, 0x4000))
    assert late[0] == ("je 0x100012", "je 0x100012, chained", "Jcc")
    assert late[6] == ("jmp 0x10007A", "jmp 0x10007a, chained", "JMP")
    assert late[3][1] == "LINK 0x100012"


@pytest.mark.parametrize(
    ("code", "cache"),
    [
        ("ret 16", "RETURN 16"),
        ("jmp rax", "BRANCH jmp rax"),
        ("call [rax + rcx * 8 - 8]", "BRANCH call [rax+rcx*8-0x8]"),
        (bytes.fromhex("65ff242530000000"), "BRANCH jmp [gs:0x30]"),
        ("popfq", "POPF"),
        ("insb", "STEP"),
    ],
)
def test_callouts_are_named(code: bytes | str, cache: str) -> None:
    assert next(lines(block(code))).cache == cache


def test_a_check_belongs_to_no_instruction() -> None:
    assert sides(block("mov [rax], ecx", checked=True)) == [
        ("", "CHECK 2 bytes", ""),
        ("mov [rax], ecx", "mov [rax], ecx", ""),
        ("", "LINK 0x100002", ""),
    ]


def test_a_listing_has_a_heading() -> None:
    text = listing(block("cli; hlt"), {LOW: "idle"})
    assert [line.split() for line in text.splitlines()] == [
        ["0x100000", "idle:", "2", "bytes", "of", "the", "guest's,", "25", "in", "the", "cache"],
        ["0x100000", "cli", "+0", "bndmk", "bnd0,", "[0]", "CLI"],
        ["0x100001", "hlt", "+9", "INSTRUCTION", "privileged"],
        ["+12", "LINK", "0x100002"],
    ]
    assert len({line.index("+") for line in text.splitlines()[1:]}) == 1
    assert listing(block("hlt"), {}).startswith("0x100000: 1 bytes")


def test_a_block_covers_its_source() -> None:
    shown = block("nop; nop; hlt")
    assert [shown.covers(LOW + at) for at in (-1, 0, 2, 3)] == [False, True, True, False]


def test_what_a_vcpu_gives_has_a_flag_more() -> None:
    shown = block("hlt")
    assert from_cache([(*shown, False)]) == [shown]


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60), st.booleans())
def test_any_block_can_be_shown(code: bytes, checked: bool) -> None:
    """Each guest instruction once, in order, and each of the cache."""
    shown = block(code, checked=checked)
    if shown.source:
        found = list(lines(shown))
        assert len(found) == len(shown.map)
        addresses = [line.address for line in found if line.guest]
        assert addresses == sorted(set(addresses))
        assert addresses[0] == LOW
