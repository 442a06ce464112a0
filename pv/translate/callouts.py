"""How does translated code ask the monitor for what it may not do itself? SYSCALL, and bytes that say what.

A callout is `0F 05` in the translation cache and a packed little-endian payload behind it, which never runs: its first
byte is the kind. The engine calls the monitor where CPL 1 executes SYSCALL, with no exception and no change of state.
Kinds and layouts are mirrored by the native core, which answers all but INSTRUCTION by itself.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from struct import Struct
from typing import Final

SYSCALL: Final = b"\x0f\x05"


class Kind(enum.IntEnum):
    """The byte behind SYSCALL."""

    LINK = 0  # go to a guest address that no jump leads to yet; it is overwritten by one, or a branch is that led here
    RETURN = 1  # near RET
    BRANCH = 2  # indirect near JMP or CALL
    INSTRUCTION = 3  # an exit: the technique's decoder says which instruction stands at the guest's RIP
    STEP = 4  # run the one guest instruction where it stands
    PUSHF = 5
    POPF = 6
    CHECK = 7  # compare the block's source with what is in memory now


# Layouts with SYSCALL and the kind before them.
_BARE: Final = Struct("<2sB")
_LINK: Final = Struct("<2sBhQ")  # patch, target
_RETURN: Final = Struct("<2sBH")  # bytes released besides the return address
_BRANCH: Final = Struct("<2sBBbbbBBq")  # flags, base, index, segment, scale, instruction length, displacement
_FLAGS: Final = Struct("<2sBB")  # operand bytes
_CHECK: Final = Struct("<2sBH")  # bytes of source

LAYOUTS: Final[dict[Kind, Struct]] = {
    Kind.LINK: _LINK,
    Kind.RETURN: _RETURN,
    Kind.BRANCH: _BRANCH,
    Kind.INSTRUCTION: _BARE,
    Kind.STEP: _BARE,
    Kind.PUSHF: _FLAGS,
    Kind.POPF: _FLAGS,
    Kind.CHECK: _CHECK,
}
SIZES: Final = {kind: layout.size for kind, layout in LAYOUTS.items()}
LINK_BYTES: Final = SIZES[Kind.LINK]
PATCH: Final = 3  # where a LINK's patch stands, and a CHECK's count

# Flags of BRANCH.
IS_CALL: Final = 1
IN_REGISTER: Final = 2  # the target is in register `base`; else in memory
SHORT_ADDRESS: Final = 4  # the address of the operand is cut to 32 bits

INSTRUCTION: Final = _BARE.pack(SYSCALL, Kind.INSTRUCTION)
STEP: Final = _BARE.pack(SYSCALL, Kind.STEP)


def link(target: int, patch: int = 0) -> bytes:
    """Go to guest address `target`. patch: from this stub to the rel32 to be patched; 0 has the stub overwritten."""
    return _LINK.pack(SYSCALL, Kind.LINK, patch, target)


def near_return(released: int) -> bytes:
    """RET: pops eight bytes, and `released` more."""
    return _RETURN.pack(SYSCALL, Kind.RETURN, released)


def branch(flags: int, base: int, index: int, segment: int, scale: int, length: int, displacement: int) -> bytes:
    """An indirect branch; the fields are those of pv.emulate.decode.Instruction, -1 for no register."""
    return _BRANCH.pack(SYSCALL, Kind.BRANCH, flags, base, index, segment, scale, length, displacement)


def flags(kind: Kind, operand_bytes: int) -> bytes:
    """PUSHF or POPF of 8 or 2 bytes."""
    return _FLAGS.pack(SYSCALL, kind, operand_bytes)


def check(source_bytes: int) -> bytes:
    """First in a block whose source may have changed without notice."""
    return _CHECK.pack(SYSCALL, Kind.CHECK, source_bytes)


@dataclass(frozen=True, slots=True)
class Callout:
    """One callout. fields: its payload, in the order of its layout. size: bytes in the cache."""

    kind: Kind
    fields: tuple[int, ...]
    size: int


def decode(code: bytes, offset: int = 0) -> Callout | None:
    """The callout that stands at `offset`; None where none does, or where it is cut short."""
    if code[offset : offset + 2] != SYSCALL or len(code) < offset + _BARE.size or code[offset + 2] > max(Kind):
        return None
    kind = Kind(code[offset + 2])
    layout = LAYOUTS[kind]
    if len(code) < offset + layout.size:
        return None
    return Callout(kind, layout.unpack_from(code, offset)[2:], layout.size)
