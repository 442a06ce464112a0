# ruff: noqa: PT017 (a refusal is one of the answers that are right: pytest.raises would demand it)
from errno import EINVAL

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.document import DEPTH_MOST, ITEMS_MOST, Document, decode, within_depth
from pv.exits import GuestError

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)

BOMBS = {
    "nothing": b"",
    "one_too_deep": b"\x91" * (DEPTH_MOST + 1) + b"\xc0",
    "maps_too_deep": b"\x81\xa1a" * (DEPTH_MOST + 1) + b"\xc0",
    "empty_list_too_deep": b"\x91" * DEPTH_MOST + b"\x90",
    "deeper_than_msgpack_goes": b"\x91" * 5000 + b"\xc0",
    "list_of_4_billion": b"\xdd\xff\xff\xff\xff",
    "map_of_4_billion": b"\xdf\xff\xff\xff\xff",
    "string_of_4_gib": b"\xdb\xff\xff\xff\xffab",
    "bytes_of_4_gib": b"\xc6\xff\xff\xff\xffab",
    "nested_long_lists": b"\xdc\x0f\xff" * 1000 + bytes(5000),
    "longer_list_than_allowed": b"\xdc" + (ITEMS_MOST + 1).to_bytes(2, "big") + b"\xc0" * (ITEMS_MOST + 1),
    "timestamp": msgpack.packb(msgpack.Timestamp(1)),
    "extension": msgpack.packb(msgpack.ExtType(5, b"x")),
    "empty_extension": b"\xc7\x00\x05",
    "empty_timestamp": b"\xc7\x00\xff",
    "long_extension": b"\xc9\xff\xff\xff\xff\x01",
    "number_as_key": b"\x81\x01\x01",
    "list_as_key": b"\x81\x90\x01",
    "two_documents": b"\xc0\xc0",
    "never_used_byte": b"\xc1",
    "no_utf8": b"\xa2\xff\xff",
    "cut_short": b"\x92\x01",
}


@given(DOCUMENTS)
def test_a_document_comes_back(document):
    assert decode(msgpack.packb(document)) == document
    assert Document(document).encode() == msgpack.packb(document)


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_bombs_are_invalid(bomb):
    with pytest.raises(GuestError) as caught:
        decode(bomb)
    assert caught.value.errno == EINVAL


@given(st.binary(max_size=300) | st.lists(st.sampled_from(list(BOMBS.values())), max_size=6).map(b"".join))
def test_noise_raises_nothing_but_einval(data):
    try:
        found = decode(data)
    except GuestError as error:
        assert error.errno == EINVAL
    else:
        assert within_depth(found, DEPTH_MOST)


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
@pytest.mark.parametrize("innermost", [None, [], {}, 1])
def test_depth_counts_containers(depth, innermost):
    document = innermost
    for _ in range(depth):
        document = [document]
    own = depth + isinstance(innermost, (list, dict))
    assert within_depth(document, own)
    assert own == 0 or not within_depth(document, own - 1)


def test_depth_at_the_bound_is_taken():
    assert decode(b"\x91" * DEPTH_MOST + b"\xc0")


@pytest.mark.parametrize("value", [object(), {1, 2}, 1 << 64])
def test_what_is_no_plain_data_is_not_encoded(value):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        Document(value).encode()
