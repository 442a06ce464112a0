"""The console's capture: what is kept, counted and shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.console import Console


def test_all_is_taken_and_only_the_bound_is_kept() -> None:
    console = Console(kept_bytes=4)
    assert console.write(b"abc") == 3
    assert console.write(b"defg") == 4
    assert console.text == "abcd"
    assert console.dropped == 3


def test_the_echo_sees_every_byte() -> None:
    seen: list[bytes] = []
    console = Console(seen.append, kept_bytes=1)
    console.write("hé")
    console.write(b"")
    assert seen == ["hé".encode()]
    assert (console.data, console.dropped) == (b"h", 2)


def test_text_shows_what_is_not_utf8() -> None:
    console = Console()
    console.write(b"a\xff")
    assert console.text == "a\\xff"
    console.write("é")
    assert console.text == "a\\xffé"


def test_a_character_in_two_writes_is_one() -> None:
    console = Console()
    for byte in "é".encode():
        console.write(bytes([byte]))
    assert console.text == "é"


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="kept_bytes=-1"):
        Console(kept_bytes=-1)
    with pytest.raises(ValueError, match="most_bytes=-1"):
        Console(most_bytes=-1)


def test_a_full_console_takes_what_fits_and_then_nothing() -> None:
    seen: list[bytes] = []
    console = Console(seen.append, kept_bytes=2, most_bytes=5)
    assert [console.write(data) for data in (b"abc", b"defg", b"h", b"")] == [3, 2, 0, 0]
    assert seen == [b"abc", b"de"]
    assert (console.text, console.dropped, console.refused, console.room) == ("ab", 3, 3, 0)


@given(st.lists(st.binary(max_size=20)), st.integers(0, 50))
def test_kept_and_dropped_make_up_what_was_written(writes: list[bytes], bound: int) -> None:
    console = Console(kept_bytes=bound)
    assert [console.write(data) for data in writes] == [len(data) for data in writes]
    whole = b"".join(writes)
    assert console.data == whole[:bound]
    assert console.dropped == max(0, len(whole) - bound)
