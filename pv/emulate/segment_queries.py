"""What does a segment look like to its user? LAR, LSL, VERR, VERW, and MOV from CS and SS.

SDM vol. 2 under each name, vol. 3, 5.10. They need no privilege and answer in ZF instead of faulting, so beneath a
guest they would speak of the monitor's own descriptors and ring: here they speak of the guest's, at the CPL that it
believes in. Only the memory operand can fault, and the walk to a descriptor that is not mapped. The present bit plays
no part.
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from pv.dispatch import Row
from pv.emulate.alu import ZF
from pv.emulate.architecture import MASK_64
from pv.emulate.decode import LAR, LSL, VERR, VERW, InstructionExit
from pv.emulate.descriptors import TABLE_INDICATOR
from pv.emulate.operands import read_uint, read_word, write_register, write_word
from pv.engines.base import Vcpu
from pv.exits import NEXT, Reason, Reply

CS, SS = 1, 2
USER: Final = 3
DESCRIPTOR_BYTES: Final = 8  # of a system descriptor, too, nothing but the first half is looked at

# The upper 32 bits of a descriptor (SDM vol. 3, figure 3-8).
WRITABLE: Final = 1 << 9  # of data; of code: readable
READABLE: Final = 1 << 9
CONFORMING: Final = 1 << 10  # of code
CODE: Final = 1 << 11
NOT_SYSTEM: Final = 1 << 12
GRANULARITY: Final = 1 << 23
ACCESS_RIGHTS: Final = 0x00F0_FF00  # what LAR loads; bits 19-16, a part of the limit, are undefined and clear here

# System types that there are in IA-32e mode (SDM vol. 3, table 3-2): LDT, TSS available and busy, call gate.
LAR_TYPES: Final = frozenset((0x2, 0x9, 0xB, 0xC))
LSL_TYPES: Final = frozenset((0x2, 0x9, 0xB))


class LocalTable(Protocol):
    """Where the LDT lies: fields that the engine's VirtualCpu has beside ldt_selector."""

    ldt_base: int
    ldt_limit: int


def descriptor_words(vcpu: Vcpu, selector: int) -> tuple[int, int] | None:
    """Both halves of the descriptor that `selector` names, copied in once; None for null, or beyond the table's limit.

    Raises GuestFault (#PF) where the guest's table is not mapped.
    """
    if not selector & ~3:
        return None
    virtual, local = vcpu.virtual, cast(LocalTable, vcpu.virtual)
    base, limit = virtual.gdt_base, virtual.gdt_limit
    if selector & TABLE_INDICATOR:
        if not virtual.ldt_selector & ~3:
            return None
        base, limit = local.ldt_base, local.ldt_limit
    offset = selector & 0xFFF8
    if offset + DESCRIPTOR_BYTES - 1 > limit:
        return None
    raw = read_uint(vcpu, (base + offset) & MASK_64, DESCRIPTOR_BYTES)
    return raw & 0xFFFF_FFFF, raw >> 32


def visible(high: int, selector: int, cpl: int) -> bool:
    """Whether `cpl` and the selector's RPL reach the segment; conforming code everybody does."""
    if high & NOT_SYSTEM and high & CODE and high & CONFORMING:
        return True
    return high >> 13 & 3 >= max(cpl, selector & 3)


def access_rights(words: tuple[int, int], selector: int, cpl: int) -> int | None:
    """What LAR loads, or None where it clears ZF."""
    _low, high = words
    known = high & NOT_SYSTEM or high >> 8 & 0xF in LAR_TYPES
    return high & ACCESS_RIGHTS if known and visible(high, selector, cpl) else None


def segment_limit(words: tuple[int, int], selector: int, cpl: int) -> int | None:
    """What LSL loads, in bytes less one, or None where it clears ZF."""
    low, high = words
    known = high & NOT_SYSTEM or high >> 8 & 0xF in LSL_TYPES
    if not known or not visible(high, selector, cpl):
        return None
    limit = low & 0xFFFF | high & 0xF0000
    return limit << 12 | 0xFFF if high & GRANULARITY else limit


def readable(words: tuple[int, int], selector: int, cpl: int) -> int | None:
    """1 where VERR sets ZF: data, and code that may be read."""
    high = words[1]
    may = high & NOT_SYSTEM and (not high & CODE or high & READABLE)
    return 1 if may and visible(high, selector, cpl) else None


def writable(words: tuple[int, int], selector: int, cpl: int) -> int | None:
    """1 where VERW sets ZF: data that may be written."""
    high = words[1]
    may = high & NOT_SYSTEM and not high & CODE and high & WRITABLE
    return 1 if may and visible(high, selector, cpl) else None


ANSWERS: Final = {LAR: access_rights, LSL: segment_limit, VERR: readable, VERW: writable}
LOADS: Final = (LAR, LSL)  # the others answer in ZF alone


def segment_query_rows(vcpu: Vcpu, owner: str) -> list[Row]:
    """MOV from CS and SS (keys 1, 2), LAR, LSL, VERR, VERW."""

    def mov(exit: InstructionExit) -> Reply:
        write_word(vcpu, exit.insn, vcpu.selector(exit.key))
        return NEXT

    def query(exit: InstructionExit) -> Reply:
        insn = exit.insn
        loads = exit.key in LOADS
        selector = read_word(vcpu, insn) if insn.memory or not loads else vcpu.get(insn.base) & 0xFFFF
        words = descriptor_words(vcpu, selector)
        cpl = USER if exit.cpl == USER else 0
        answer = ANSWERS[exit.key](words, selector, cpl) if words else None
        if answer is None:
            vcpu.rflags &= ~ZF
            return NEXT
        vcpu.rflags |= ZF
        if loads:
            write_register(vcpu, insn.register, answer, insn.operand_bytes)
        return NEXT

    moves = [
        Row(Reason.SEGMENT_READ, number, number, mov, owner, f"{name} read")
        for name, number in (("CS", CS), ("SS", SS))
    ]
    names = {LAR: "LAR", LSL: "LSL", VERR: "VERR", VERW: "VERW"}
    return [*moves, *(Row(Reason.SEGMENT_READ, key, key, query, owner, name) for key, name in names.items())]
