"""Where in the engine's saved state does each register of the processor lie? A table of names, offsets and sizes.

Offsets are those of CPUX86State in Unicorn 2.1.4 (native/engine.h has the ones that the core needs). They are not API:
pv.theorem.processor proves them on a live engine before it trusts them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pv.engines.base import GENERAL_REGISTERS

STATE_BYTES: Final = 5568
SEGMENTS: Final = ("es", "cs", "ss", "ds", "fs", "gs")


class Field(NamedTuple):
    """`size` bytes at `offset`, little endian."""

    offset: int
    size: int


def segment_fields(name: str, offset: int) -> dict[str, Field]:
    """A SegmentCache: selector, base, limit, and the upper half of the descriptor."""
    return {
        f"{name}.selector": Field(offset, 4),
        f"{name}.base": Field(offset + 8, 8),
        f"{name}.limit": Field(offset + 16, 4),
        f"{name}.flags": Field(offset + 20, 4),
    }


MSRS: Final = {  # by name: index in the architecture (SDM vol. 4, table 2-2)
    "sysenter_cs": 0x174, "sysenter_esp": 0x175, "sysenter_eip": 0x176, "star": 0xC0000081, "lstar": 0xC0000082,
    "fmask": 0xC0000084, "kernel_gs_base": 0xC0000102, "tsc_aux": 0xC0000103,
}  # fmt: skip

FIELDS: Final[dict[str, Field]] = {
    **{name: Field(8 * index, 8) for index, name in enumerate(GENERAL_REGISTERS)},
    "rip": Field(0x80, 8),
    "eflags": Field(0x88, 8),
    "cc_src": Field(0x98, 8),
    "cc_op": Field(0xA8, 4),
    "hflags": Field(0xB0, 4),
    **{
        key: field
        for index, name in enumerate(SEGMENTS)
        for key, field in segment_fields(name, 0xB8 + 24 * index).items()
    },
    **segment_fields("ldtr", 0x148), **segment_fields("tr", 0x160),
    **segment_fields("gdtr", 0x178), **segment_fields("idtr", 0x190),
    "cr0": Field(0x1A8, 8), "cr2": Field(0x1B8, 8), "cr3": Field(0x1C0, 8), "cr4": Field(0x1C8, 8),
    "cr8": Field(0x15B4, 4), "efer": Field(0x250, 8),
    "sysenter_cs": Field(0x12C0, 4), "sysenter_esp": Field(0x12C8, 8), "sysenter_eip": Field(0x12D0, 8),
    "star": Field(0x12D8, 8), "lstar": Field(0x12E8, 8), "fmask": Field(0x12F8, 8), "kernel_gs_base": Field(0x1300, 8),
    "tsc_aux": Field(0x1320, 8), "xcr0": Field(0x1328, 8),
    "dr0": Field(0x1518, 8), "dr6": Field(0x1548, 8), "dr7": Field(0x1550, 8),
    "error_code": Field(0x1508, 4), "is_int": Field(0x150C, 4),
}  # fmt: skip

CPL: Final = 3  # bits of hflags
SIZES_32: Final = 3 << 4  # of code and stack; the engine has them set in 64-bit mode too
IOPL: Final = 3 << 12
LONG_MODE: Final = 1 << 14
CODE_64: Final = 1 << 15
FLAGS_HELD: Final = 1  # cc_op: the arithmetic flags stand in cc_src
