"""Which instructions does a random guest have? A table of kinds, each with its weight and a maker of bytes.

Weighted towards what the monitor must answer: privileged and system instructions, segments, strings, ports, hypercalls.
Operands come from a table of places and numbers at which something ends or begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.fuzz.genome import Genome

BASE: Final = 0x100000  # a flat guest's first byte
DATA: Final = BASE + 0x10000
MEMORY_BYTES: Final = 2 << 20
M64: Final = (1 << 64) - 1

PLACES: Final = (
    *(BASE, DATA, DATA + 0xFF8, DATA + 0x1000, 0, 0x1000, 0x7FFF8, 0x80000, MEMORY_BYTES - 8, MEMORY_BYTES, BASE - 1),
    *(0x7FFF_FFFF_FFF8, 0x7FFF_FFFF_F000, 1 << 47, M64 - (1 << 47) + 1, M64, M64 - 7, M64 - 4095),
    *(0xFEE0_0000, 0xFEC0_0000, 0xB8000, 0xFFFF_FFF0, 1 << 32, 1 << 36, (1 << 36) + 4096),
)
NUMBERS: Final = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 1023, 1024, 4095, 4096, 4097, 65535),
    *(1 << 16, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 52, 1 << 63, (1 << 63) - 1, M64, M64 - 1, M64 - 4095),
)
SELECTORS: Final = (0, 1, 3, 4, 8, 9, 0x10, 0x11, 0x18, 0x1B, 0x20, 0x23, 0x28, 0x2B, 0x33, 0xFFF8, 0xFFFF)
MSRS: Final = (
    *(0x10, 0x1B, 0x174, 0x176, 0x277, 0x2FF, 0x6E0, 0x800, 0x830, 0x83E, 0xC0000080, 0xC0000081, 0xC0000082),
    *(0xC0000084, 0xC0000100, 0xC0000101, 0xC0000102, 0xC0000103, 0xC0010114, 0xC0010117, 0x50564B00, 0x40000000),
)
PORTS: Final = (
    *(0x20, 0x21, 0x40, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0xA0, 0xA1, 0x1F0, 0x1F1, 0x1F2, 0x1F6),
    *(0x1F7, 0x3F6, 0x3F8, 0x3F9, 0x3FB, 0x3FD, 0xCF8, 0xCFC, 0xF4, 0x500, 0xFFFF),
)

PRIVILEGED: Final = tuple(
    bytes.fromhex(text)
    for text in (
        *("fa", "fb", "f4", "0f06", "0f08", "0f09", "0f30", "0f32", "0f31", "0f33", "0f01f9", "0fa2", "0f34", "0f35"),
        *("0f05", "0f07", "480f07", "480f35", "0f01f8", "0f01d0", "0f01d1", "0f01c8", "0f01c9", "0f01ca", "0f01cb"),
        *("9c", "9d", "cf", "48cf", "cb", "48cb", "ca0800", "c9", "0f77", "0fae38", "0fae30", "0fc7f8", "0fc7f0"),
        *("0f20c0", "0f22c0", "0f20d0", "0f22d0", "0f20d8", "0f22d8", "0f20e0", "0f22e0", "440f20c0", "440f22c0"),
        *("0f21c0", "0f23c0", "0f21f0", "0f23f0", "0f21f8", "0f23f8", "0f01f0", "0f01e0", "0f00c8", "0f00c0"),
        *("0f00d0", "0f00d8", "0f00e0", "0f00e8", "0f0110", "0f0118", "0f0100", "0f0108", "0f0130", "0f0138"),
        *("f30f01e8", "f3480faed0", "f3480fae c0", "660f3882 07", "0f01ee", "0f01ef", "f390", "f3f4", "66cf", "0f0b"),
    )
)
SVM: Final = tuple(
    bytes.fromhex(text) for text in ("0f01d8", "0f01da", "0f01db", "0f01dc", "0f01dd", "0f01de", "0f01df")
)
CALLS: Final = tuple(bytes.fromhex(text) for text in ("0f01c1", "0f01d9", "0f01c1", "660f01c1", "f00f01c1"))
STRINGS: Final = (0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF, 0x6C, 0x6D, 0x6E, 0x6F)
LOCKED: Final = tuple(
    bytes.fromhex(text)
    for text in (
        "01",
        "09",
        "11",
        "21",
        "29",
        "31",
        "87",
        "ff",
        "f7",
        "0fb1",
        "0fc1",
        "0fc7",
        "0fa3",
        "0fab",
        "0fb3",
        "0fbb",
        "0fba",
    )
)
VECTORS: Final = (0, 1, 2, 3, 4, 6, 8, 13, 14, 0x20, 0x2C, 0x80, 0x81, 0xFF)

Maker = Callable[[Genome], bytes]


def move(register: int, value: int) -> bytes:
    """MOV register, value, of 64 bits."""
    return bytes([0x48 | register >> 3, 0xB8 | register & 7]) + (value & M64).to_bytes(8, "little")


def value(genome: Genome) -> int:
    """A number at which something begins or ends, or any."""
    kind = genome.number() % 5
    if kind == 0:
        return genome.choose(PLACES)
    if kind == 1:
        return genome.choose(NUMBERS)
    if kind == 2:
        return (genome.choose(PLACES) + genome.number() - 128) & M64
    if kind == 3:
        return genome.choose((*SELECTORS, *MSRS, *PORTS))
    return genome.number(8)


def operand(genome: Genome) -> bytes:
    """A ModRM byte and what follows it."""
    modrm = genome.number()
    mode, rm = modrm >> 6, modrm & 7
    tail = b""
    if mode != 3 and rm == 4:
        tail += genome.bytes(1)
    if mode == 1:
        tail += genome.bytes(1)
    elif mode == 2 or (mode == 0 and rm == 5):
        tail += (genome.choose(PLACES) & 0xFFFF_FFFF).to_bytes(4, "little")
    return bytes([modrm]) + tail


def prefix(genome: Genome) -> bytes:
    """Mostly none; else one of operand size, address size, segments, REP, LOCK or REX."""
    if not genome.chance(60):
        return b""
    return bytes([genome.choose((0x66, 0x67, 0xF2, 0xF3, 0x2E, 0x36, 0x64, 0x65, 0xF0, 0x48, 0x40, 0x44, 0x41, 0x4F))])


def constant(genome: Genome) -> bytes:
    return move(genome.number() & 15, value(genome))


def privileged(genome: Genome) -> bytes:
    return genome.choose(PRIVILEGED)


def msr(genome: Genome) -> bytes:
    return move(1, genome.choose(MSRS)) + genome.choose((b"\x0f\x32", b"\x0f\x30"))


def control_register(genome: Genome) -> bytes:
    number = genome.choose((0, 3, 4, 3, 0, 8))
    rex = b"\x44" if number == 8 else b""
    return move(0, value(genome)) + rex + bytes([0x0F, 0x22, 0xC0 | (number & 7) << 3])


def table(genome: Genome) -> bytes:
    """LGDT, LIDT, SGDT or SIDT of a descriptor that is stored first."""
    stores = move(0, value(genome)) + bytes.fromhex("488907") + move(0, value(genome)) + bytes.fromhex("48894702")
    return move(7, genome.choose(PLACES)) + stores + bytes([0x0F, 0x01, genome.choose((0x17, 0x1F, 0x07, 0x0F))])


def segment(genome: Genome) -> bytes:
    kind = genome.number() % 6
    if kind < 3:
        return move(0, genome.choose(SELECTORS)) + bytes([0x8E, 0xC0 | genome.number() % 6 << 3])
    if kind == 3:
        return genome.choose((b"\x0f\xa1", b"\x0f\xa9", b"\x0f\xa0", b"\x0f\xa8", b"\x8c\xd0", b"\x8c\xc8"))
    if kind == 4:
        return genome.choose((b"\x0f\xb2", b"\x0f\xb4", b"\x0f\xb5", b"\x48\x0f\xb2")) + operand(genome)
    return genome.choose((b"\x0f\x02", b"\x0f\x03", b"\x0f\x00")) + operand(genome)


def system_call(genome: Genome) -> bytes:
    return genome.choose((b"\x0f\x05", b"\x48\x0f\x07", b"\x0f\x34", b"\x48\xcf", b"\x48\xcb"))


def svm(genome: Genome) -> bytes:
    return move(0, genome.choose(PLACES)) + genome.choose(SVM)


def port(genome: Genome) -> bytes:
    code = genome.choose((0xEC, 0xED, 0xEE, 0xEF, 0xE4, 0xE5, 0xE6, 0xE7))
    if code < 0xE8:
        return bytes([code, genome.choose(PORTS) & 0xFF])
    return move(2, genome.choose(PORTS)) + bytes([code])


def string(genome: Genome) -> bytes:
    setup = move(1, genome.choose(NUMBERS)) + move(6, genome.choose(PLACES)) + move(7, genome.choose(PLACES))
    if genome.chance(40):
        setup += b"\xfd"  # STD
    repeat = genome.choose((b"", b"\xf3", b"\xf2", b"\xf3\x48", b"\xf3\x66", b"\xf3\x67"))
    return setup + repeat + bytes([genome.choose(STRINGS)])


def floating(genome: Genome) -> bytes:
    kind = genome.number() % 3
    if kind == 0:
        return bytes([0xD8 + genome.number() % 8]) + operand(genome)
    head = genome.choose((b"", b"\x66", b"\xf2", b"\xf3"))
    if kind == 1:
        return head + b"\x0f" + bytes([genome.choose(range(0x10, 0x80))]) + operand(genome)
    return genome.choose(
        (b"\x0f\xae", b"\x48\x0f\xae", b"\x0f\xc7", b"\x48\x0f\xc7", b"\xc5\xf8\x77", b"\xc4\xe2\x79")
    ) + operand(genome)


def locked(genome: Genome) -> bytes:
    return (
        b"\xf0" + (b"\x48" if genome.chance(128) else b"") + genome.choose(LOCKED) + operand(genome) + genome.bytes(1)
    )


def jump(genome: Genome) -> bytes:
    kind = genome.number() % 8
    near = (genome.number() % 80 - 24) & 0xFF
    if kind == 0:
        return bytes([0xEB, near])
    if kind == 1:
        return bytes([0x70 + genome.number() % 16, near])
    if kind == 2:
        return bytes([0xE0 + genome.number() % 4, near])  # LOOPcc, JRCXZ
    if kind == 3:
        return b"\xe8" + int.to_bytes(near if near < 128 else near - 256 & 0xFFFF_FFFF, 4, "little")
    if kind == 4:
        return b"\xc3"
    if kind == 5:
        return move(0, genome.choose(PLACES)) + genome.choose((b"\xff\xe0", b"\xff\xd0", b"\x50\xc3"))
    if kind == 6:
        return move(4, value(genome))  # another stack
    return b"\xff" + operand(genome)


def interrupt(genome: Genome) -> bytes:
    return genome.choose(
        (b"\xcc", b"\xf1", b"\x0f\x0b", b"\xcd" + bytes([genome.choose(VECTORS)]), b"\xcd" + genome.bytes(1))
    )


def store(genome: Genome) -> bytes:
    """A value to a place, the code itself among them."""
    places = (BASE + genome.number(), DATA + genome.number(2) % 4096, genome.choose(PLACES))
    return (
        move(7, genome.choose(places))
        + move(0, value(genome))
        + genome.choose((b"\x48\x89\x07", b"\x88\x07", b"\x48\x87\x07"))
    )


def arithmetic(genome: Genome) -> bytes:
    code = genome.choose((0x00, 0x01, 0x03, 0x29, 0x31, 0x39, 0x85, 0x87, 0x89, 0x8B, 0x8D, 0xF7, 0xFF, 0x63, 0x0F))
    head = prefix(genome) + bytes([code])
    return head + (genome.bytes(1) if code == 0x0F else b"") + operand(genome)


def raw(genome: Genome) -> bytes:
    return genome.bytes(1 + genome.number() % 8)


MAKERS: Final[tuple[tuple[int, Maker], ...]] = (
    (6, constant),
    (8, privileged),
    (3, msr),
    (3, control_register),
    (2, table),
    (4, segment),
    (2, system_call),
    (1, svm),
    (4, port),
    (3, string),
    (4, floating),
    (2, locked),
    (5, jump),
    (4, interrupt),
    (4, store),
    (4, arithmetic),
    (3, raw),
)
WEIGHTED: Final = tuple(make for weight, make in MAKERS for _ in range(weight))
PORTS_IN_256: Final = 6


def instruction(genome: Genome, ports: bool) -> bytes:
    """The next instruction, or a few that belong together. Ports end a guest that has none: few, where not `ports`."""
    make = genome.choose(WEIGHTED)
    if make is port and not ports and not genome.chance(PORTS_IN_256):
        make = constant
    return make(genome)
