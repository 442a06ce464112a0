from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.translate.callouts import (
    INSTRUCTION,
    LAYOUTS,
    SIZES,
    STEP,
    SYSCALL,
    Kind,
    branch,
    check,
    decode,
    flags,
    link,
    near_return,
)

# As the native core has them (native/callout.c).
CORE = {"LINK": (0, 13), "RETURN": (1, 5), "BRANCH": (2, 17), "INSTRUCTION": (3, 3), "STEP": (4, 3), "PUSHF": (5, 4),
        "POPF": (6, 4), "CHECK": (7, 5)}  # fmt: skip


def test_kinds_and_sizes_are_the_cores() -> None:
    assert {kind.name: (int(kind), SIZES[kind]) for kind in Kind} == CORE
    assert LAYOUTS.keys() == set(Kind)


@pytest.mark.parametrize(
    ("code", "kind", "fields"),
    [
        (link(0xFFFF_FFFF_8100_0000), Kind.LINK, (0, 0xFFFF_FFFF_8100_0000)),
        (link(0x10_0000, -0x60), Kind.LINK, (-0x60, 0x10_0000)),
        (near_return(16), Kind.RETURN, (16,)),
        (branch(3, 15, -1, -1, 1, 3, 0), Kind.BRANCH, (3, 15, -1, -1, 1, 3, 0)),
        (branch(0, 0, 12, 5, 8, 9, -(1 << 63)), Kind.BRANCH, (0, 0, 12, 5, 8, 9, -(1 << 63))),
        (INSTRUCTION, Kind.INSTRUCTION, ()),
        (STEP, Kind.STEP, ()),
        (flags(Kind.PUSHF, 8), Kind.PUSHF, (8,)),
        (flags(Kind.POPF, 2), Kind.POPF, (2,)),
        (check(4096), Kind.CHECK, (4096,)),
    ],
)
def test_what_is_encoded_is_decoded(code: bytes, kind: Kind, fields: tuple[int, ...]) -> None:
    callout = decode(b"\x90" + code + b"\x90", 1)
    assert callout is not None
    assert (callout.kind, callout.fields, callout.size) == (kind, fields, len(code))
    assert all(decode(code[:size]) is None for size in range(len(code)))


@given(st.binary(max_size=20), st.integers(0, 20))
def test_any_bytes_are_a_callout_or_none(code: bytes, offset: int) -> None:
    callout = decode(code, offset)
    assert callout is None or (code[offset:].startswith(SYSCALL) and offset + callout.size <= len(code))


def test_a_kind_that_there_is_not() -> None:
    assert decode(SYSCALL + b"\x08" + bytes(20)) is None
