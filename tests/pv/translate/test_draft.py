from __future__ import annotations

from typing import Any

import pytest
from iced_x86 import Decoder

from pv.translate.callouts import decode
from pv.translate.draft import STUB, Draft
from pv.translate.policy import After
from pv.translate.sequences import JUMP
from tests.pv.translate.laboratory import Virtual

RIP = 0x10_0000


def draft(*, checked: bool = False, code: bytes = b"") -> Draft:
    return Draft(Virtual(), RIP, code, 4096, 0x10, checked)


def put(block: Draft, *parts: tuple[int, bytes]) -> None:
    """Parts for guest instructions at those offsets."""
    for block.at, code in parts:
        block.part(code)


def link_at(block: Draft, offset: int) -> tuple[int, int]:
    """Target and patch of the LINK that stands there."""
    callout = decode(bytes(block.out), offset)
    assert callout is not None
    assert callout.kind.name == "LINK"
    return callout.fields[1], callout.fields[0]


def test_a_part_has_an_entry() -> None:
    block = draft()
    put(block, (0, b"\x90"), (3, b"\x50\x51"))
    block.parts([(b"\x90", 0), (b"\x91", 8)])
    assert bytes(block.out) == b"\x90\x50\x51\x90\x91"
    assert block.map == [(0, 0, 0), (1, 3, 0), (3, 3, 0), (4, 3, 8)]


def test_a_block_that_goes_on_ends_with_a_link() -> None:
    block = draft()
    put(block, (0, b"\x90"))
    block.finish(After.ON, 1)
    assert block.links == [(1, RIP + 1, -1)]
    assert block.map[-1] == (1, STUB, 0)
    assert link_at(block, 1) == (RIP + 1, 0)


def test_one_that_does_not_has_none() -> None:
    block = draft()
    put(block, (0, b"\x0f\x0b"))
    block.finish(After.NEVER, 2)
    assert (bytes(block.out), block.links) == (b"\x0f\x0b", [])


def test_branches_lead_to_stubs_or_into_the_block() -> None:
    """One that is pending is a rel32 whose stub stands behind everything else, or none where its target is here."""
    block = draft()
    put(block, (0, b"\x90"), (1, b"\xf2\x0f\x84" + bytes(4)), (7, b"\xf2\x0f\x85" + bytes(4)))
    block.pending += [(4, RIP), (11, RIP + 0x500)]
    block.finish(After.LINK, 13)
    assert [target for _, target, _ in block.links] == [RIP + 13, RIP + 0x500]
    stub = block.links[1][0]
    distances = [int.from_bytes(block.out[at : at + 4], "little", signed=True) for at in (4, 11)]
    assert [at + 4 + distance for at, distance in zip((4, 11), distances, strict=True)] == [0, stub]
    assert link_at(block, stub) == (RIP + 0x500, 11 - stub)


def test_a_checked_block_is_entered_at_its_check() -> None:
    block = draft(checked=True)
    put(block, (0, b"\x90"))
    block.go_to(RIP)
    assert block.links == [(6, RIP, -1)]
    assert block.map[0] == (0, 0, 0)


@pytest.mark.parametrize(
    ("target", "inside"), [(RIP, 0), (RIP + 1, 1), (RIP + 2, None), (RIP + 9, 6), (RIP + 20, None)]
)
def test_a_jump_enters_at_instructions_only(target: int, inside: int | None) -> None:
    """Not in the middle of one, nor in the middle of what stands for one."""
    block = draft()
    put(block, (0, b"\x90"), (1, b"\xb0\x01"))
    block.at = 3
    block.parts([(b"\x91", 0), (b"\x92\x92", 0)])
    put(block, (9, b"\x93"))
    at = len(block.out)
    block.go_to(target)
    if inside is None:
        assert block.links == [(at, target, -1)]
        return
    raw: Any = Decoder(64, bytes(block.out[at:]), ip=at).decode()
    assert block.out[at:].startswith(JUMP)
    assert raw.near_branch_target == inside


def test_what_is_marked_can_be_forgotten() -> None:
    block = draft()
    put(block, (0, b"\x90"))
    before = bytes(block.out), list(block.map), list(block.links), list(block.pending), block.bakes
    mark = block.mark()
    put(block, (1, b"\x91"))
    block.stub(RIP)
    block.pending.append((1, RIP))
    block.bakes = 8
    block.forget(mark)
    assert (bytes(block.out), block.map, block.links, block.pending, block.bakes) == before
