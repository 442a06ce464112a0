"""Every encoding that the emulator's table has, from the table itself and iced-x86's description of each.

A form is an iced-x86 Code of legacy encoding in 64-bit mode with an operand in memory that decode_memory knows.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, NamedTuple

from iced_x86 import Code, EncodingKind, OpCodeInfo, OpCodeOperandKind, OpKind, Register

from pv.emulate.operations import OPERATIONS
from pv.emulate.operations_common import Kind

K = OpCodeOperandKind
MEMORY: Final = frozenset((K.MEM, K.R8_OR_MEM, K.R16_OR_MEM, K.R32_OR_MEM, K.R64_OR_MEM, K.XMM_OR_MEM))
REGISTERS: Final = {  # kind of operand: the first register that it may be, and how many in a row
    K.R8_REG: (Register.AL, 20), K.R16_REG: (Register.AX, 16), K.R32_REG: (Register.EAX, 16),
    K.R64_REG: (Register.RAX, 16), K.XMM_REG: (Register.XMM0, 16), K.CL: (Register.CL, 1), K.AL: (Register.AL, 1),
    K.AX: (Register.AX, 1), K.EAX: (Register.EAX, 1), K.RAX: (Register.RAX, 1),
}  # fmt: skip
IMMEDIATES: Final = {  # kind of operand: the OpKind that an instruction has for it, bytes, and whether it is signed
    K.IMM8: (OpKind.IMMEDIATE8, 1, False), K.IMM16: (OpKind.IMMEDIATE16, 2, False),
    K.IMM32: (OpKind.IMMEDIATE32, 4, False), K.IMM8SEX16: (OpKind.IMMEDIATE8TO16, 1, True),
    K.IMM8SEX32: (OpKind.IMMEDIATE8TO32, 1, True), K.IMM8SEX64: (OpKind.IMMEDIATE8TO64, 1, True),
    K.IMM32SEX64: (OpKind.IMMEDIATE32TO64, 4, True), K.IMM8_CONST_1: (OpKind.IMMEDIATE8, 0, False),
}  # fmt: skip
STRINGS: Final = {K.SEG_RSI: (OpKind.MEMORY_SEG_RSI, OpKind.MEMORY_SEG_ESI),
                  K.ES_RDI: (OpKind.MEMORY_ESRDI, OpKind.MEMORY_ESEDI)}  # fmt: skip
KNOWN: Final = MEMORY | REGISTERS.keys() | IMMEDIATES.keys() | STRINGS.keys() | {K.MEM_OFFS}
LEFT_OUT: Final = (  # far transfers; and what AMD alone defines in 64-bit mode
    *("CALL_M16", "JMP_M16", "CALL_RM16", "JMP_RM16"),
    *(f"TEST_RM{bits}_IMM{min(bits, 32)}_F{6 + (bits > 8)}R1" for bits in (8, 16, 32, 64)),
)


class Form(NamedTuple):
    """One encoding. operands: OpCodeOperandKinds in their order."""

    name: str
    code: int
    mnemonic: int
    operands: tuple[int, ...]
    string: bool
    lockable: bool


def _form(name: str, code: int) -> Form | None:
    info: Any = OpCodeInfo(code)
    operands = tuple(info.op_kind(position) for position in range(info.op_count))
    if info.encoding != EncodingKind.LEGACY or not info.mode64 or not KNOWN.issuperset(operands):
        return None
    in_memory = [kind for kind in operands if kind in MEMORY or kind in STRINGS or kind == K.MEM_OFFS]
    if not in_memory or name.startswith(LEFT_OUT):
        return None
    string = in_memory[0] in STRINGS
    kind = Kind.STRING if string else Kind.VECTOR if K.XMM_REG in operands else Kind.GENERAL
    if (info.mnemonic, kind) not in OPERATIONS:
        return None
    return Form(name, code, info.mnemonic, operands, string, info.can_use_lock_prefix)


def _all() -> dict[tuple[int, Kind], list[Form]]:
    forms: dict[tuple[int, Kind], list[Form]] = defaultdict(list)
    for name, code in vars(Code).items():
        form = _form(name, code) if isinstance(code, int) and name.isupper() else None
        if form:
            kind = Kind.STRING if form.string else Kind.VECTOR if K.XMM_REG in form.operands else Kind.GENERAL
            forms[form.mnemonic, kind].append(form)
    return dict(forms)


FORMS: Final = _all()
