"""What bytes is one instruction, at one address? Keystone encodes, a small table fills its gaps, verify.py judges.

The text given to keystone is rewritten from the parsed source, with registers and numbers only. That keeps its
own expression parser out of play, and what would abort the whole process (a high byte register in an
instruction with REX) is refused before.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

import iced_x86
import keystone

from guest_sdk.errors import AssemblyError
from guest_sdk.syntax import KEYWORDS, REGISTERS, Immediate, Memory, Operand, Register
from guest_sdk.verify import ALIASES, MNEMONICS, check

FIXED: Final = {  # what keystone does not know; without operands
    "sysretq": "480f07",
    "sysretl": "0f07",
    "sysexitq": "480f35",
    "endbr64": "f30f1efa",
    "movsd": "a5",
}
PREFIX_BYTES: Final = {"lock": b"\xf0", "rep": b"\xf3", "repne": b"\xf2"}
RESPELLED: Final = {"loopz": "loope", "loopnz": "loopne", "retn": "ret", "lretq": "retfq", "xlat": "xlatb"}
REFUSED: Final = {  # each would assemble to the form of another operand size
    "iret": "iretq",
    "sysret": "sysretq or sysretl",
    "sysexit": "sysexitq",
    "pushf": "pushfq",
    "popf": "popfq",
    "retf": "retfq",
    "lret": "retfq",
}
HIGH_BYTES: Final = frozenset({"ah", "bh", "ch", "dh"})
MOST_CACHED: Final = 1 << 16


def _takes_rex(name: str, *, in_address: bool) -> bool:
    info = iced_x86.RegisterInfo(REGISTERS[name])  # numbers AL..BL AH..BH as 0-7, then SPL and on
    return info.number >= 8 or (info.size == 8 and not in_address)


def _spell(operand: Operand) -> str:
    if isinstance(operand, Register):
        return operand.name
    if isinstance(operand, Immediate):
        return hex(operand.value)
    terms = list(operand.terms)
    # RSP cannot be an index, and a base must be a term of scale 1: keystone takes the first such term
    terms.sort(key=lambda term: (term[1] != 1, term[0] not in ("rsp", "esp")))
    if len(terms) == 1 and terms[0][1] in (3, 5, 9):  # [rax + rax*2]
        terms = [(terms[0][0], 1), (terms[0][0], terms[0][1] - 1)]
    parts = [name if scale == 1 else f"{name}*{scale}" for name, scale in terms]
    displacement = operand.displacement
    if terms and displacement >= 1 << 63:
        displacement -= 1 << 64
    inside = " + ".join(parts)
    if displacement or not parts:
        inside += f" {'-' if displacement < 0 else '+' if parts else ''} {abs(displacement):#x}"
    size = f"{KEYWORDS[operand.size_bytes]} ptr " if operand.size_bytes else ""
    segment = f"{operand.segment}:" if operand.segment else ""
    return f"{size}{segment}[{inside.strip()}]"


class Encoder:
    """One keystone instance and what it has encoded. Safe to share among threads."""

    def __init__(self) -> None:
        self._keystone = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)
        self._lock = threading.Lock()
        self._anywhere: dict[str, bytes] = {}
        self._at: dict[tuple[str, int], bytes] = {}

    def encode(self, mnemonic: str, prefixes: tuple[str, ...], operands: tuple[Operand, ...], address: int) -> bytes:
        """Verified bytes. Raises AssemblyError, its `line` left to the caller."""
        text = " ".join([*prefixes, mnemonic, ", ".join(map(_spell, operands))]).strip()
        code = self._anywhere.get(text) or self._at.get((text, address))
        if code is None:
            self._refuse(mnemonic, operands)
            code = self._fixed(mnemonic, prefixes, operands) or self._assemble(text, mnemonic, operands, address)
            check(mnemonic, prefixes, operands, code, address)
            if len(self._at) > MOST_CACHED or len(self._anywhere) > MOST_CACHED:
                self._at.clear()
                self._anywhere.clear()
            if self._is_relative(code, address):
                self._at[text, address] = code
            else:
                self._anywhere[text] = code
        return code

    @staticmethod
    def _refuse(mnemonic: str, operands: tuple[Operand, ...]) -> None:
        if mnemonic in REFUSED:
            raise AssemblyError(f"{mnemonic} names no operand size: write {REFUSED[mnemonic]}")
        if ALIASES.get(mnemonic, mnemonic) not in MNEMONICS:
            raise AssemblyError(f"unknown instruction {mnemonic!r}")
        plain = [operand.name for operand in operands if isinstance(operand, Register)]
        high = HIGH_BYTES.intersection(plain)
        inner = [name for operand in operands if isinstance(operand, Memory) for name, _ in operand.terms]
        if high and (
            any(_takes_rex(name, in_address=False) for name in plain)
            or any(_takes_rex(name, in_address=True) for name in inner)
        ):
            raise AssemblyError(f"{min(high)} cannot stand in an instruction that needs a REX prefix")

    @staticmethod
    def _fixed(mnemonic: str, prefixes: tuple[str, ...], operands: tuple[Operand, ...]) -> bytes:
        if operands or mnemonic not in FIXED:
            return b""
        return b"".join(PREFIX_BYTES[prefix] for prefix in prefixes) + bytes.fromhex(FIXED[mnemonic])

    def _assemble(self, text: str, mnemonic: str, operands: tuple[Operand, ...], address: int) -> bytes:
        if mnemonic in RESPELLED:
            text = text.replace(mnemonic, RESPELLED[mnemonic], 1)
        try:
            with self._lock:
                code, _ = self._keystone.asm(text, address, as_bytes=True)
        except keystone.KsError as error:
            raise AssemblyError(f"keystone: {error}") from error
        if not code:
            raise AssemblyError("keystone gives no bytes")
        return self._absolute(bytes(code), operands, address)

    @staticmethod
    def _absolute(code: bytes, operands: tuple[Operand, ...], address: int) -> bytes:
        """Undo keystone's RIP-relative form of `[label]` and `gs:[0x10]`: an address is not a distance."""
        instruction = next(iter(iced_x86.Decoder(64, code, ip=address)))
        memory = next((o for o in operands if isinstance(o, Memory)), None)
        if memory is None or memory.terms or not instruction.is_ip_rel_memory_operand:
            return code
        instruction.memory_base = iced_x86.Register.NONE
        instruction.memory_displ_size = 8  # 8 stands for a disp32 that is extended to 64 bits
        instruction.memory_displacement = memory.displacement & ((1 << 64) - 1)
        encoder = iced_x86.Encoder(64)
        try:
            encoder.encode(instruction, address)
        except ValueError as error:
            raise AssemblyError(f"cannot encode {_spell(replace(memory, size_bytes=0))}: {error}") from error
        return encoder.take_buffer()

    @staticmethod
    def _is_relative(code: bytes, address: int) -> bool:
        instruction = next(iter(iced_x86.Decoder(64, code, ip=address)))
        branch = instruction.op_count and instruction.op_kind(0) == iced_x86.OpKind.NEAR_BRANCH64
        return bool(branch or instruction.is_ip_rel_memory_operand)
