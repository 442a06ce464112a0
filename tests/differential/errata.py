"""Where the engine beneath is not the processor of the manual, and the emulator is.

An entry says which cases it concerns and what the manual asks of them, made of what the engine does to a case that it
does right. Each has a witness that shows the difference, so that an engine that mends it fails a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from typing import Final, NamedTuple

from iced_x86 import Decoder

from pv.emulate.alu import ZF
from pv.emulate.architecture import GENERAL_PROTECTION, canonical
from pv.emulate.operations_vectors import ALIGNED
from tests.differential.cases import CODE, DATA, DEVICE, PAGE, TARGET, Case
from tests.differential.processors import After

Run = Callable[[Case], After]
LOCK, OPERAND_SIZE, NOP = b"\xf0", b"\x66", b"\x90"
MOVSXD, MOV = 0x63, b"\x8b"  # opcodes of one byte; no prefix has these values
PREFIXES: Final = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3))
HIGH: Final = 0xDEAD_BEEF << 32
RBX: Final = 3


class Erratum(NamedTuple):
    """manual: where Intel's SDM says otherwise. by_manual: what a processor leaves of a case."""

    name: str
    manual: str
    applies: Callable[[Case], bool]
    by_manual: Callable[[Case, Run], After]
    witness: Case


def _locked_negation(case: Case) -> bool:
    return case.insn.mnemonic == "neg" and LOCK[0] in takewhile(PREFIXES.__contains__, case.code)


def _without_lock(case: Case, run: Run) -> After:
    """With one processor LOCK changes nothing. A NOP in front keeps the length, and with it what RIP is."""
    return run(replace(case, code=NOP + case.code.replace(LOCK, b"", 1)))


def _unaligned(case: Case) -> bool:
    return case.insn.mnemonic.upper() in ALIGNED and bool(case.linear() % 16)


def _accumulator_kept(case: Case, run: Run) -> After:
    after = run(case)
    if after.fault >= 0 or not after.rflags & ZF:
        return after
    return after._replace(registers=(case.registers[0], *after.registers[1:]))


def _next_displacement(case: Case, run: Run) -> After:
    """The engine forgets that an immediate byte follows: where it adds to RIP, one more is meant."""
    displacement = int.from_bytes(case.code[-5:-1], "little") + 1 & 0xFFFF_FFFF
    return run(replace(case, code=case.code[:-5] + displacement.to_bytes(4, "little") + case.code[-1:]))


def _relative_with_immediate(case: Case) -> bool:
    if case.insn.mnemonic not in ("shld", "shrd") or not case.insn.has_immediate:
        return False
    return bool(Decoder(64, case.code, ip=CODE).decode().is_ip_rel_memory_operand)


def _narrow_movsxd(case: Case) -> bool:
    return case.insn.mnemonic == "movsxd" and case.insn.operand_bytes == 2


def _as_mov(case: Case, run: Run) -> After:
    """Of 16 bits there is nothing to extend: MOV r16, r/m16 has the same operands."""
    at = next(i for i, byte in enumerate(case.code) if byte == MOVSXD)
    return run(replace(case, code=case.code[:at] + MOV + case.code[at + 1 :]))


def strays(case: Case) -> bool:
    """Whether what the engine accesses by mistake lies in another page, so that a device is reached or is not."""
    at, size = case.linear(), case.insn.operand_bytes
    return (_relative_with_immediate(case) and (at - 1) // PAGE != (at + size - 1) // PAGE) or (
        _narrow_movsxd(case) and at // PAGE != (at + 3) // PAGE
    )


def _far_away(case: Case) -> bool:
    target = case.operand() if case.insn.mnemonic in ("call", "jmp") else None
    return target is not None and not canonical(target)


def _near_and_narrow(case: Case) -> bool:
    return case.insn.mnemonic in ("call", "jmp") and OPERAND_SIZE[0] in takewhile(PREFIXES.__contains__, case.code)


def _without_operand_size(case: Case, run: Run) -> After:
    """As _without_lock: the prefix is ignored."""
    return run(replace(case, code=NOP + case.code.replace(OPERAND_SIZE, b"", 1)))


def _general_protection(_case: Case, _run: Run) -> After:
    return After(GENERAL_PROTECTION)


def _at_device(name: str, code: str, value: int, **state: int) -> Case:
    """`code`, with RBX pointing at `value` in the device's page and RAX as it is given."""
    data = bytearray(3 * PAGE)
    data[PAGE : PAGE + 16] = value.to_bytes(16, "little")
    registers = [0] * 16
    registers[0], registers[RBX] = state.get("rax", 0), DEVICE
    return Case(name, bytes.fromhex(code), registers, state.get("rflags", 2), data=bytes(data))


ERRATA: Final = (
    Erratum(
        "LOCK NEG leaves the flags of its operand",
        "vol. 2, NEG: the flags are set according to the result",
        _locked_negation,
        _without_lock,
        _at_device("NEG_RM32", "f0f71b", 1),
    ),
    Erratum(
        "16 bytes need no alignment",
        "vol. 2, MOVAPS, MOVDQA, MOVNTDQ and the like: #GP(0) if the operand is not aligned on 16 bytes",
        _unaligned,
        _general_protection,
        _at_device("MOVAPS_XMM_XMMM128", "0f284301", 0),
    ),
    Erratum(
        "CMPXCHG of 32 bits clears the upper half of RAX where it is equal",
        "vol. 2, CMPXCHG, operation: the accumulator is written where the comparison fails",
        lambda case: case.insn.mnemonic == "cmpxchg" and case.insn.operand_bytes == 4,
        _accumulator_kept,
        _at_device("CMPXCHG_RM32_R32", "0fb10b", 5, rax=HIGH | 5),
    ),
    Erratum(
        "SHLD and SHRD by an immediate are one byte off where their operand is relative to RIP",
        "vol. 2, 2.2.1.6: the displacement is from the next instruction, immediate included",
        _relative_with_immediate,
        _next_displacement,
        _at_device("SHLD_RM64_R64_IMM8", "480fa41d" + (DEVICE - CODE - 9).to_bytes(4, "little").hex() + "04", 0x1234),
    ),
    Erratum(
        "MOVSXD of 16 bits reads 32",
        "vol. 2, MOVSX/MOVSXD: 63 /r of operand size 16 moves a word",
        _narrow_movsxd,
        _as_mov,
        replace(_at_device("MOVSXD_R16_RM16", "66638bfe2f0000", 0), registers=[0, 0, 0, DATA, *[0] * 12]),
    ),
    Erratum(
        "near CALL and JMP take an address that is not canonical",
        "vol. 2, CALL and JMP, 64-bit mode exceptions: #GP(0) if the target is non-canonical",
        _far_away,
        _general_protection,
        _at_device("JMP_RM64", "ff23", 1 << 47),
    ),
    Erratum(
        "near CALL and JMP with an operand-size prefix go to an address of 16 bits",
        "vol. 2, CALL and JMP, operation: in 64-bit mode a near target has 64 bits, whatever the prefix",
        _near_and_narrow,
        _without_operand_size,
        _at_device("JMP_RM64", "66ff23", TARGET),
    ),
)


def expected(case: Case, run: Run) -> After:
    """What a processor leaves of `case`: what the engine does, or what the manual says where the two differ."""
    erratum = next((erratum for erratum in ERRATA if erratum.applies(case)), None)
    return erratum.by_manual(case, run) if erratum else run(case)
