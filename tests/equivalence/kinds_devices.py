"""Ports and the local APIC's page: registers whose value no time changes, at every width, and interrupts to oneself."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import move
from tests.equivalence.kinds import Piece, kind

PORTS: Final = (0x21, 0xA1, 0x3FF, 0x3FB, 0x3F9, 0x70, 0x71, 0x80, 0xED, 0xCF8, 0x1234, 0xFFFF)
READ_ONLY: Final = (0x20, 0x30, 0x80, 0xA0, 0xF0, 0x100, 0x170, 0x200, 0x280, 0x300, 0x350, 0x3E0, 0xE0)
VECTOR: Final = 0x52


@kind(4)
def port_read(choose: Random) -> Piece:
    port = choose.choice(PORTS)
    if port < 0x100 and choose.random() < 0.5:
        return Piece(bytes([choose.choice((0xE4, 0xE5)), port]))
    return Piece(move(2, port) + choose.choice((b"\xec", b"\x66\xed", b"\xed")))


@kind(4)
def port_write(choose: Random) -> Piece:
    port = choose.choice((0x21, 0xA1, 0x3FF, 0x70, 0x80, 0xED, 0x1234))
    return Piece(move(0, choose.getrandbits(32)) + move(2, port) + choose.choice((b"\xee", b"\x66\xef", b"\xef")))


@kind(2)
def port_string(choose: Random) -> Piece:
    begin = move(6, choose.choice((at.DATA, at.WINDOW + 0xFFC))) + move(
        7, choose.choice((at.DATA + 64, at.WINDOW + 0x1FFC, at.UNMAPPED))
    )
    begin += move(1, choose.choice((1, 2, 5))) + move(2, choose.choice((0x3FF, 0x80, 0x1234)))
    return Piece(begin + choose.choice((b"\x6e", b"\xf3\x6e", b"\x6c", b"\xf3\x6c", b"\xf3\x6d", b"\xf3\x66\x6f")))


@kind(4)
def apic_read(choose: Random) -> Piece:
    place = at.APIC + choose.choice(READ_ONLY) + choose.choice((0, 0, 0, 1, 3, 4, 12))
    opcode = choose.choice(
        (
            b"\x8b\x03",
            b"\x8a\x0b",
            b"\x0f\xb6\x13",
            b"\x48\x8b\x33",
            b"\x03\x03",
            b"\x85\x03",
            b"\x3b\x03",
            b"\xf7\x03\x01\x00\x00\x00",
        )
    )
    return Piece(move(3, place) + opcode)


@kind(4)
def apic_write(choose: Random) -> Piece:
    """Task priority, logical destination, spurious vector, error status, LINT1's vector."""
    offset, value = choose.choice(
        (
            (0x80, choose.randrange(256)),
            (0xD0, choose.getrandbits(32)),
            (0xE0, choose.getrandbits(32)),
            (0xF0, 0x1FF),
            (0x280, 0),
            (0x360, 0x10400),
            (0xB0, 0),
        )
    )
    opcode = choose.choice(
        (
            b"\x89\x03",
            b"\x87\x03",
            b"\xc7\x03" + value.to_bytes(4, "little"),
            b"\x09\x03",
            b"\x21\x03",
            b"\x31\x03",
            b"\xff\x03",
            b"\x01\x03",
        )
    )
    return Piece(move(0, value) + move(3, at.APIC + offset) + opcode)


@kind(3)
def interrupt_to_oneself(choose: Random) -> Piece:
    """ICR: delivered at once where IF lets it, else with the STI that follows."""
    send = move(3, at.APIC + 0x300) + b"\xc7\x03" + (0x40000 | VECTOR + 16 * choose.randrange(3)).to_bytes(4, "little")
    return Piece(choose.choice((b"\xfa", b"\xfb", b"")) + send + choose.choice((b"\x90\xfb\x90", b"\x90", b"\xfb\xfa")))


@kind(3)
def end_of_interrupt(_choose: Random) -> Piece:
    return Piece(move(3, at.APIC + 0xB0) + b"\xc7\x03" + bytes(4))
