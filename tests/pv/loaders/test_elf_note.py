"""The note that names the ABI version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk.abi import NOTE_OWNER, NOTE_TYPE, VERSION
from pv.loaders.elf_note import abi_version, notes
from pv.loaders.image import LoadError
from tests.pv.loaders.tiny_elf import note

OWNER = NOTE_OWNER.encode() + b"\0"


def version(number: int) -> bytes:
    return note(OWNER, NOTE_TYPE, number.to_bytes(4, "little"))


def test_no_note_is_no_version() -> None:
    assert abi_version([]) is None
    assert abi_version([b"", note(b"GNU\0", 3, bytes(20)), note(OWNER, 1, b"")]) is None


def test_our_note_is_found_among_others() -> None:
    assert abi_version([note(b"GNU\0", 3, b"abc") + version(VERSION), note(b"", 0, b"")]) == VERSION


def test_names_and_descriptors_are_padded_to_four_bytes() -> None:
    data = note(b"a\0", 7, b"xyz") + note(b"bcde\0", 8, b"")
    assert list(notes(data)) == [(b"a\0", 7, b"xyz"), (b"bcde\0", 8, b"")]


@pytest.mark.parametrize("number", [0, VERSION + 1, 0xFFFF_FFFF])
def test_a_version_that_is_not_served_is_refused(number: int) -> None:
    with pytest.raises(LoadError, match=f"ABI version {number}, and this monitor serves 1 to {VERSION}; update"):
        abi_version([version(number)])


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\0", "header at 0x0 is cut off"),
        (version(1)[:-1], "ends beyond its segment"),
        (version(1) + b"\1\0\0\0", "header at 0x18 is cut off"),
        (b"\xff" * 12, "ends beyond its segment"),
        (note(OWNER, NOTE_TYPE, b"\1"), "is of 1 bytes and not 4"),
        (note(OWNER, NOTE_TYPE, bytes(8)), "is of 8 bytes and not 4"),
        (bytes(12) * 1000, "more than 256"),
        (version(1) + version(2), "two notes name ABI versions 1 and 2"),
    ],
)
def test_malformed_notes_are_refused(data: bytes, line: str) -> None:
    with pytest.raises(LoadError, match=line):
        abi_version([data])


@given(st.binary(max_size=100))
def test_any_bytes_are_notes_or_refused(data: bytes) -> None:
    try:
        outcome: object = abi_version([data])
    except LoadError as error:
        outcome = "\n" not in str(error)
    assert outcome in (None, VERSION, True)
