"""Which version of the ABI was a guest built for? The note that the SDK leaves in it.

System V gABI, chapter 5, "Note section": three words (name bytes, descriptor bytes, type), the name, the
descriptor, each padded to 4 bytes. Notes of other owners are passed over, but must hold together.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from guest_sdk.abi import NOTE_OWNER, NOTE_TYPE, VERSION
from pv.loaders.image import LoadError

HEADER: Final = struct.Struct("<III")
DESCRIPTOR: Final = struct.Struct("<I")
OWNER: Final = NOTE_OWNER.encode() + b"\0"
ALIGN_BYTES: Final = 4
NOTES_MOST: Final = 256


def notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(owner with its NUL, type, descriptor) of each note in `data`. Raises LoadError where one runs out of it."""
    at = 0
    for _ in range(NOTES_MOST):
        if at >= len(data):
            return
        if at + HEADER.size > len(data):
            raise LoadError(f"ELF note: its header at {at:#x} is cut off; build the guest again")
        name_bytes, descriptor_bytes, kind = HEADER.unpack_from(data, at)
        name_at = at + HEADER.size
        descriptor_at = name_at + padded(name_bytes)
        if descriptor_at + descriptor_bytes > len(data):
            raise LoadError(f"ELF note: the one at {at:#x} ends beyond its segment; build the guest again")
        descriptor = data[descriptor_at : descriptor_at + descriptor_bytes]
        yield data[name_at : name_at + name_bytes], kind, descriptor
        at = descriptor_at + padded(descriptor_bytes)
    raise LoadError(f"ELF note: there are more than {NOTES_MOST}; strip the guest")


def padded(size_bytes: int) -> int:
    """`size_bytes` rounded up to the alignment of notes."""
    return -(-size_bytes // ALIGN_BYTES) * ALIGN_BYTES


def abi_version(segments: Iterable[bytes]) -> int | None:
    """The ABI version that the PT_NOTE `segments` name, None where none does.

    Raises LoadError where a note is malformed, where two disagree, and where the version is not one we serve.
    """
    found: int | None = None
    for data in segments:
        for owner, kind, descriptor in notes(data):
            if owner != OWNER or kind != NOTE_TYPE:
                continue
            if len(descriptor) != DESCRIPTOR.size:
                raise LoadError(
                    f"ELF note: the ABI version is of {len(descriptor)} bytes and not {DESCRIPTOR.size}; "
                    "build the guest with this SDK"
                )
            (version,) = DESCRIPTOR.unpack(descriptor)
            if found not in (None, version):
                raise LoadError(f"ELF note: two notes name ABI versions {found} and {version}; build the guest again")
            found = version
    if found is not None and not 1 <= found <= VERSION:
        raise LoadError(
            f"ELF note: the guest was built for ABI version {found}, and this monitor serves 1 to {VERSION}; "
            "update pvkit, or build the guest with this SDK"
        )
    return found
