"""Translated code against the original: the same state at every boundary, and what a block says of itself."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iced_x86 import Decoder

from pv.translate.block import LEAST_ROOM, MOST, STUB, Translation, Translator
from pv.translate.callouts import STEP, Kind, decode
from pv.translate.draft import OPTIONS
from pv.translate.sequences import WINDOW
from tests.pv.engines.unicorn.guests import assemble
from tests.pv.translate.laboratory import FAR, KERNEL, LOW, Bench, Cache, State, Virtual
from tests.pv.translate.programs import END, programs

NOWHERE = 0x5000_0000_0000
slow = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def registers(bench: Bench) -> tuple[int, ...]:
    values = [0x0123_4567_89AB_CDEF * (number + 1) & 0xFFFF_FFFF_FFFF for number in range(16)]
    values[3], values[5], values[4] = bench.data + 0x100, bench.data + 0x1000, bench.stack + 0x2000
    values[14] = NOWHERE
    return tuple(values)


def compare(code: bytes, base: int, **options: bool | int) -> Cache:
    """Run both, and hold every boundary of the translated run to one of the original, in order."""
    bench = Bench(base)
    end = base + END
    bench.load(code, registers(bench))
    original = list(bench.original(end))
    bench = Bench(base)
    bench.load(code, registers(bench))
    cache = Cache(bench, **options)
    at, last = 0, True
    for state, last in cache.run(base, end):
        at = _reached(state, original, at, last)
        assert _alike(state, original[at], last), f"at {state.rip:#x}, original at {original[at].rip:#x}"
    assert at == len(original) - 1
    return cache


def _reached(state: State, original: list[State], at: int, whole: bool) -> int:
    """The boundary `state` is at: `at`, the next, or behind JMPs, which leave nothing in the cache."""
    if not _alike(state, original[at], whole) and at + 1 < len(original):
        at += 1
        while at + 1 < len(original) and original[at]._replace(rip=0) == original[at + 1]._replace(rip=0):
            if _alike(state, original[at], whole):
                break
            at += 1
    return at


def _alike(state: State, original: State, whole: bool) -> bool:
    return state == original if whole else state.without_memory() == original.without_memory()


@slow
@given(programs(), st.sampled_from([LOW, KERNEL, FAR]), st.booleans())
def test_every_boundary_is_one_of_the_guests(code: bytes, base: int, chain: bool) -> None:
    compare(code, base, chain=chain)


@slow
@given(programs(faults=True), st.sampled_from([LOW, KERNEL, FAR]))
def test_a_fault_is_one_of_the_guests_instruction(code: bytes, base: int) -> None:
    compare(code, base)


@slow
@given(programs(), st.booleans(), st.integers(1, 4))
def test_checked_and_short_blocks(code: bytes, checked: bool, most: int) -> None:
    compare(code, LOW, checked=checked, most=most)


def translate(code: bytes, rip: int = LOW, room: int = 4096, *, checked: bool = False, most: int = MOST) -> Translation:
    return Translator(Virtual()).translate(rip, code, room, 0x10, checked, most)


def test_code_that_ends_inside_its_first_instruction_is_no_block() -> None:
    assert translate(b"\x48\xb8\x01") == Translation(b"", 0, 0, [], [], 0)
    assert translate(b"") == Translation(b"", 0, 0, [], [], 0)


def test_code_that_ends_inside_a_later_one_ends_the_block_before_it() -> None:
    block = translate(b"\x90\x90\x48\xb8\x01")
    assert (block.source_bytes, block.instructions, block.links) == (2, 2, [(2, LOW + 2, -1)])


def test_fifteen_bytes_are_never_too_few() -> None:
    """What is longer than an instruction may be is the processor's to refuse."""
    block = translate(b"\x66" * 15 + b"\x90")
    assert (block.code, block.instructions) == (STEP, 1)


def test_a_block_has_so_many_instructions() -> None:
    block = translate(b"\x90" * 100, most=7)
    assert (block.source_bytes, block.instructions, block.links) == (7, 7, [(7, LOW + 7, -1)])
    assert translate(b"\x90" * 100).instructions == MOST


@pytest.mark.parametrize("room", range(LEAST_ROOM, 200))
def test_a_block_fits_in_its_room(room: int) -> None:
    """Branches need room for their stubs: what does not fit is left to the next block."""
    code = b"\x74\x70" * 3 + b"\x0f\x01\x00\x90\x90" + b"\x74\x70\xe2\x70" * 8
    block = translate(code, room=room)
    assert 0 < len(block.code) <= room
    assert LOW + block.source_bytes in [target for _, target, _ in block.links]


def test_no_room_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="a block in 10 bytes: an instruction needs up to 96"):
        translate(b"\x90", room=10)


def test_addresses_wrap() -> None:
    block = translate(b"\x90\xeb\x7e", (1 << 64) - 3)
    assert block.links == [(1, 0x7E, -1)]


def test_a_checked_block_says_what_it_was_made_of() -> None:
    code = assemble("mov eax, [rbx]; inc eax; mov [rbx], eax; inc eax", LOW)
    block = translate(code, checked=True)
    callout = decode(block.code)
    assert callout is not None
    assert (callout.kind, callout.fields) == (Kind.CHECK, (block.source_bytes,))
    assert block.map[:2] == [(0, 0, 0), (5, 0, 0)]
    assert block.instructions == 3  # it ends behind the store


@pytest.mark.parametrize(
    ("code", "whole"),
    [("push rax; nop", False), ("cmp [rax], ebx; nop", True), ("jz 0x100010; nop", True), ("cpuid; nop", False),
     ("cmpxchg [rax], ecx; nop", False), ("sgdt [rax]; nop", False), ("movsb; nop", False),
     ("lea rax, [rbx]; nop", True)],
)  # fmt: skip
def test_what_may_write_ends_a_checked_block(code: str, whole: bool) -> None:
    assert (translate(assemble(code, LOW), checked=True).instructions == 2) is whole


@pytest.mark.parametrize("code", ["4866054433", "486605443322114890", "664866e900", "2e40f30f10c1"])
def test_a_prefix_behind_rex_is_the_processors(code: str) -> None:
    """It goes on with REX, which the manual drops: the instruction may be of another length."""
    block = translate(b"\x90\x50" + bytes.fromhex(code).ljust(20, b"\x90"))
    assert (block.source_bytes, block.instructions, block.links) == (2, 2, [(2, LOW + 2, -1)])
    alone = translate(bytes.fromhex(code).ljust(20, b"\x90"), LOW + 2)
    assert (alone.code, alone.instructions, alone.links) == (STEP, 1, [])


def test_rex_before_the_opcode_is_none_of_those() -> None:
    """41 66 stands inside an immediate, and at the end of one instruction and the start of the next."""
    block = translate(bytes.fromhex("b8416641 66 b041 6690".replace(" ", "")) + b"\x90" * 4)
    assert block.instructions > 3


@settings(max_examples=400, deadline=None)
@given(
    st.binary(min_size=1, max_size=120),
    st.sampled_from([LOW, KERNEL, FAR, (1 << 64) - 60]),
    st.integers(LEAST_ROOM, 600),
    st.booleans(),
    st.integers(1, MOST),
)
def test_any_bytes_become_a_block_or_none(code: bytes, rip: int, room: int, checked: bool, most: int) -> None:
    block = translate(code, rip, room, checked=checked, most=most)
    if not block.source_bytes:
        assert block == Translation(b"", 0, 0, [], [], 0)
        return
    assert block.source_bytes <= len(code)
    assert len(block.code) <= room
    assert 1 <= block.instructions <= most
    offsets = [offset for offset, _, _ in block.map]
    assert offsets[0] == 0
    assert offsets == sorted(set(offsets))
    assert {offset for offset, guest, _ in block.map if guest == STUB} == {stub for stub, _, _ in block.links}
    assert all(STUB <= guest <= block.source_bytes for _, guest, _ in block.map)
    for offset, end in zip(offsets, [*offsets[1:], len(block.code)], strict=True):
        part = block.code[offset:end]
        callout = decode(part)
        if callout is not None:
            assert callout.size == len(part)
        elif part != WINDOW:
            assert Decoder(64, part, OPTIONS).decode().len == len(part)
