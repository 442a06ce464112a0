"""What crosses to another process and back is the same; what cannot is refused by its type."""

from __future__ import annotations

from contextlib import suppress
from types import MappingProxyType
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.engines.base import Latency, RecordedExit
from pv.exits import NEXT, Exit, Reason, StopWhy, fault, stop
from pv.isolation.codec import CodecError, pack, unpack
from pv.isolation.machine import lost
from pv.loaders.image import Image, Segment
from pv.outcome import ExitCounts

RECORD = RecordedExit(7, 18, 0x1003, 0x100000, 2, 1, tuple(range(16)), b"\x0f\x01\xc1")
VALUES = [
    (1, ("two", b"three", None), {4, 5}),
    {("VMCALL", "exit"): Latency(1, 2, 3, 4, (5, 6))},
    [NEXT, stop(3), fault(13, 0)],
    RECORD,
    Exit(18, -1, value=(1 << 64) - 1),
    Image(0x100000, (Segment(0x100000, b"\xf4", 4096, False, True),), 1, {"main": 0x100000}),
    StopWhy.ENGINE_ABORT,
    ExitCounts(VMCALL=3),
    lost("the worker process ended by SIGSEGV", 0.5),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    found = unpack(pack(value))
    assert found == value
    assert type(found) is type(value)


def test_what_has_a_plainer_form_crosses_in_that() -> None:
    assert unpack(pack([Reason.VMCALL, MappingProxyType({"a": 1}), bytearray(b"x")])) == [18, {"a": 1}, b"x"]


@pytest.mark.parametrize("value", [object(), print, 1 << 64, ValueError("x")], ids=lambda value: type(value).__name__)
def test_what_cannot_cross_is_refused(value: Any) -> None:
    with pytest.raises(CodecError, match="cannot be handed to another process"):
        pack([value])


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(plain)
def test_plain_data_comes_back(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(st.binary(max_size=60) | st.tuples(st.integers(0, 127), st.binary(max_size=40)).map(lambda e: pack_ext(*e)))
def test_bytes_of_any_kind_give_a_value_or_a_codec_error(data: bytes) -> None:
    with suppress(CodecError):
        pack(unpack(data))


def pack_ext(code: int, data: bytes) -> bytes:
    packed: bytes = msgpack.packb(msgpack.ExtType(code, data))
    return packed


@pytest.mark.parametrize(
    "data",
    [
        pack_ext(3, msgpack.packb(["subprocess.Popen", "ls"])),
        pack_ext(3, msgpack.packb(["Outcome", 1])),
        pack_ext(4, msgpack.packb(["StopWhy", "NO_SUCH"])),
        pack_ext(5, msgpack.packb([1])),
        pack_ext(9, msgpack.packb([1])),
    ],
)
def test_nothing_but_the_named_classes_is_made(data: bytes) -> None:
    with pytest.raises(CodecError):
        unpack(data)
