"""Control, debug and model-specific registers, flags, CPUID and time, with values that are valid and not."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.equivalence import layout as at
from tests.equivalence.code import INTO, control, debug, memory_form, move, push, read_msr, write_msr
from tests.equivalence.kinds import Piece, kind

PE, MP, EM, TS, NE, WP, AM, NW, CD, PG = 1, 2, 4, 8, 0x20, 1 << 16, 1 << 18, 1 << 29, 1 << 30, 1 << 31
CR0: Final = PE | PG | NE | WP | 0x10
CR4_PAE, CR4_OSFXSR, CR4_TSD, CR4_DE, CR4_PSE, CR4_PGE, CR4_PCE = 1 << 5, 1 << 9, 1 << 2, 1 << 3, 1 << 4, 1 << 7, 1 << 8
STAR: Final = (0x13 << 16 | at.KERNEL_CS) << 32
FMASK: Final = 0x40700
FS_BASE, GS_BASE, KERNEL_GS_BASE, EFER = 0xC0000100, 0xC0000101, 0xC0000102, 0xC0000080


@kind(3)
def read_control(choose: Random) -> Piece:
    return Piece(control(choose.choice((0, 2, 3, 4, 8)), choose.choice(INTO), write=False))


@kind(1)
def no_such_control_register(choose: Random) -> Piece:
    number = choose.choice((1, 5, 6, 7, 9, 15))
    return Piece(control(number, choose.choice(INTO), write=choose.random() < 0.5))


@kind(3)
def write_cr0(choose: Random) -> Piece:
    value = CR0 & ~(WP if choose.random() < 0.3 else 0)
    for bit in (MP, TS, AM):
        value |= bit if choose.random() < 0.3 else 0
    return Piece(move(0, value) + control(0, 0, write=True) + control(0, choose.choice(INTO), write=False))


@kind(2)
def write_cr0_badly(choose: Random) -> Piece:
    value = choose.choice((CR0 & ~PE, CR0 & ~PG, CR0 | NW, CR0 | 1 << 32, CR0 | 1 << 63))
    return Piece(move(1, value) + control(0, 1, write=True))


@kind(2)
def write_cr2(choose: Random) -> Piece:
    register = choose.choice(INTO)
    return Piece(move(register, choose.getrandbits(choose.choice((12, 48, 64)))) + control(2, register, write=True))


@kind(3)
def write_cr3(choose: Random) -> Piece:
    value = choose.choice((at.ROOT, at.ROOT, at.OTHER_ROOT)) | choose.choice((0, 8, 0x18))
    return Piece(move(0, value) + control(3, 0, write=True) + control(3, choose.choice(INTO), write=False))


@kind(1)
def write_cr3_badly(choose: Random) -> Piece:
    return Piece(move(0, at.ROOT | 1 << choose.choice((52, 55, 62))) + control(3, 0, write=True))


@kind(2)
def write_cr4(choose: Random) -> Piece:
    value = CR4_PAE | CR4_OSFXSR
    for bit in (CR4_TSD, CR4_DE, CR4_PSE, CR4_PGE, CR4_PCE):
        value |= bit if choose.random() < 0.3 else 0
    return Piece(move(2, value) + control(4, 2, write=True) + control(4, choose.choice(INTO), write=False))


@kind(1)
def write_cr4_badly(choose: Random) -> Piece:
    value = choose.choice((CR4_OSFXSR, CR4_PAE | CR4_OSFXSR | 1 << choose.choice((14, 15, 19, 25, 31, 32, 63))))
    return Piece(move(2, value) + control(4, 2, write=True))


@kind(2)
def write_cr8(choose: Random) -> Piece:
    return Piece(move(8, choose.choice((0, 1, 4, 5, 15))) + control(8, 8, write=True))


@kind(1)
def write_cr8_badly(choose: Random) -> Piece:
    return Piece(move(8, choose.choice((16, 0xFF, 1 << 32, 1 << 63))) + control(8, 8, write=True))


@kind(2)
def machine_status_word(choose: Random) -> Piece:
    word = choose.randrange(16) & ~EM
    return Piece(choose.choice((b"\x0f\x06", move(0, word) + b"\x0f\x01\xf0")) + control(0, 3, write=False))


@kind(2)
def address_breakpoint(choose: Random) -> Piece:
    number, value = choose.randrange(4), choose.getrandbits(choose.choice((16, 47)))
    return Piece(move(1, value) + debug(number, 1, write=True) + debug(number, choose.choice(INTO), write=False))


@kind(2)
def debug_status(choose: Random) -> Piece:
    value = choose.getrandbits(32)
    return Piece(move(1, value) + debug(6, 1, write=True) + debug(6, choose.choice(INTO), write=False))


@kind(2)
def debug_control(choose: Random) -> Piece:
    value = choose.getrandbits(32) & 0xFFFF0300  # no breakpoint enabled, no general detect
    return Piece(move(1, value) + debug(7, 1, write=True) + debug(7, choose.choice(INTO), write=False))


@kind(1)
def debug_register_badly(choose: Random) -> Piece:
    return Piece(move(1, 1 << choose.randrange(32, 64)) + debug(choose.choice((6, 7)), 1, write=True))


@kind(1)
def debug_alias(choose: Random) -> Piece:
    return Piece(debug(choose.choice((4, 5)), choose.choice(INTO), write=False))


@kind(1)
def general_detect(choose: Random) -> Piece:
    number = choose.choice((0, 3, 6, 7))
    return Piece(move(1, 0x2000) + debug(7, 1, write=True) + debug(number, choose.choice(INTO), write=False))


@kind(3)
def known_msr(choose: Random) -> Piece:
    address = choose.choice((at.DATA, at.WINDOW, at.NOT_CANONICAL >> 1, 0xFFFF_8000_0000_0000))
    msr, value = choose.choice(
        (
            (EFER, 0xD01), (EFER, 0x501), (EFER, 0xD00),
            (0xC0000081, STAR), (0xC0000082, at.HANDLER), (0xC0000084, FMASK), (0xC0000083, address),
            (FS_BASE, address), (GS_BASE, address), (KERNEL_GS_BASE, address),
            (0xC0000103, choose.getrandbits(32)), (0x174, choose.getrandbits(16)), (0x175, address), (0x176, address),
            (0x277, 0x0007040600070406), (0x277, 0x0606060606060606),
        )
    )  # fmt: skip
    return Piece(write_msr(msr, value) + b"\x0f\x32" + b"\x89\xc6\x89\xd7")


@kind(2)
def msr_badly(choose: Random) -> Piece:
    bad = at.NOT_CANONICAL
    return Piece(
        choose.choice(
            (
                write_msr(0xC0000082, bad), write_msr(FS_BASE, bad), write_msr(KERNEL_GS_BASE, bad),
                write_msr(GS_BASE, bad), write_msr(EFER, 0x1D01), write_msr(EFER, 1 << 40 | 0xD01),
                write_msr(0x277, 0x0202020202020202),
                write_msr(0x2FFF_0000, 1), read_msr(0x2FFF_0000), read_msr(choose.randrange(0x5000, 0x6000)),
                write_msr(0xC0000103, 1 << 32), write_msr(0xFE, 1),
            )
        )
    )  # fmt: skip


@kind(2)
def read_an_msr(choose: Random) -> Piece:
    return Piece(
        read_msr(choose.choice((EFER, 0xC0000081, 0xC0000082, 0xC0000084, FS_BASE, GS_BASE, 0x1B, 0xFE, 0x1A0, 0x277)))
    )


@kind(3)
def interrupt_flag(choose: Random) -> Piece:
    return Piece(choose.choice((b"\xfa", b"\xfb", b"\xfb\x90\xfa", b"\xfa\x90\xfb")))


@kind(2)
def flags_while_interrupts_are_on(choose: Random) -> Piece:
    """PUSHF and POPF where IF is set and stays so: what the processor holds is what the guest believes."""
    pushed = 0x202 | choose.getrandbits(12) & 0x8D5 | choose.choice((0, 1 << 10, 1 << 18, 1 << 21, 1 << 14))
    return Piece(b"\xfb\x90" + push(pushed) + b"\x9d\x9c\x5b\xfc")


@kind(2)
def processor_identification(choose: Random) -> Piece:
    leaf = choose.choice(
        (0, 1, 2, 4, 7, 0xD, 0x4000_0000, 0x8000_0000, 0x8000_0001, 0x8000_0008, choose.getrandbits(32))
    )
    return Piece(move(1, choose.randrange(3)) + move(0, leaf) + b"\x0f\xa2")


@kind(2)
def time_stamp(choose: Random) -> Piece:
    """The values are timing, and are cleared."""
    code, clear = choose.choice(((b"\x0f\x31", b""), (b"\x0f\x01\xf9", b"")))
    return Piece(code + clear + move(0, 0) + move(2, 0))


@kind(1)
def floating_point(choose: Random) -> Piece:
    address = at.DATA + 16 * choose.randrange(64)
    return Piece(
        choose.choice(
            (
                b"\xdb\xe3",
                b"\xd9\xe8",
                memory_form(b"\x0f\x28", 0, address),
                memory_form(b"\x0f\x29", 1, address),
                b"\x0f\x77",
            )
        )
    )


@kind(2)
def without_operands(choose: Random) -> Piece:
    """Instructions of one meaning each: cache, sleep, virtualization, and some that no processor has.

    SYSENTER is not among them: the engine passes over it where the host happens to have asked for a stop.
    """
    return Piece(
        bytes.fromhex(
            choose.choice(
                (
                    "0f09", "0f08", "0f01c8", "0f01c9", "0f33", "0f01d1", "0f01d0", "0f01c1", "0f01d9", "0f01d8",
                    "0f01da", "0f01db", "0f01dc", "0f01dd", "0f01de", "0f01df", "0faa", "0f0b", "0fff", "0fb9c0",
                    "27", "ce", "d6", "f390", "0f0d00", "0f1f00", "0f05", "0f35", "90",
                )
            )
        )
    )  # fmt: skip
