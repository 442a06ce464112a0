"""What becomes of a guest kernel's instruction in the translation cache? One table, a row for each class.

identical: the bytes are copied; an operand relative to RIP becomes absolute. What faults anyway (INT n, UD2) is among
them: the fault says where, and the map of the block what guest address that is.
sequence: instructions of the cache's own do it, with no exit: the virtual interrupt flag is a bound register, and what
SGDT shows stands in the code as an immediate, so that a change of it drops the block.
callout: the monitor does it, at `0F 05` (pv.translate.callouts); of these only `instruction` is an exit.
step: the instruction runs once where the guest has it, since it can't be encoded elsewhere, or is the processor's to
refuse.
undefined: UD2 stands there: CPUID shows a processor that has no such instruction, but the one beneath would run it.

What may come between two instructions of the cache, and what the guest then sees:

- A fault. Each instruction of the cache has an entry in the block's map: the guest address that it stands for, and what
  to add to RSP to be before it. A guest instruction that became several stores nothing but what it stores again when it
  is run anew, so a fault in any of them is one of the guest instruction. CALL's second store has 8 to undo.
- An interrupt. Where the map gives a guest address, the state is the guest's at that address: there it may be taken.
  STI's last instruction belongs to the next guest instruction already, for the flag is set; so does the branch round a
  LOOP's stub.
- A mode switch: interrupts, faults, SYSCALL and returns from them leave the cache by the map and come back by looking
  up the guest's address. Nothing of the cache is in the guest's registers or on its stack at any boundary.
- At a stub of a LINK the guest has branched already: its address is the target.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

from iced_x86 import Code, CpuidFeature, EncodingKind, MemorySize, OpCodeInfo, OpCodeOperandKind

from pv.emulate.decode import FORMS
from pv.exits import Reason


class How(enum.IntEnum):
    """What is put into the cache."""

    IDENTICAL = 0
    VECTOR = 1  # identical while the guest has SSE turned on, else undefined
    NOTHING = 2  # a NOP of one byte
    SEQUENCE = 3
    SELECTOR = 4  # MOV from a segment register: CS is a sequence, SS an instruction callout, others are identical
    INSTRUCTION = 5
    PUSHF = 6
    POPF = 7
    STEP = 8
    UNDEFINED = 9
    INVALID = 10  # what the decoder does not know: mostly a step
    JUMP = 11
    CONDITION = 12
    COUNT = 13
    CALL = 14
    INDIRECT = 15
    RETURN = 16


class After(enum.IntEnum):
    """Where a block goes on behind an instruction."""

    ON = 0  # with the next
    LINK = 1  # in another block, or wherever the monitor says: what this one was translated by may have changed
    NEVER = 2  # not from here


@dataclass(frozen=True, slots=True)
class Policy:
    """One row. codes: the iced-x86 codes of the class; of the last three rows they are found by what a code is."""

    name: str
    how: How
    after: After
    why: str
    codes: frozenset[int] = frozenset()


def _codes(*starts: str) -> frozenset[int]:
    """All codes whose names begin so."""
    return frozenset(code for name, code in vars(Code).items() if name.startswith(starts))


def _forms(*reasons: Reason) -> frozenset[int]:
    return frozenset(code for code, form in FORMS.items() if form.reason in reasons)


# They change what a block is made by.
_STEERED: Final = _forms(Reason.GDTR_IDTR, Reason.LDTR_TR, Reason.CR_ACCESS) - {Code.MOV_R64_CR}
_LEAVING: Final = _forms(Reason.IRET, Reason.SYSRET, Reason.FAR_TRANSFER)
_COUNTED: Final = _codes("LOOP", "JRCXZ", "JECXZ")

TABLE: Final[tuple[Policy, ...]] = (
    Policy("CLI", How.SEQUENCE, After.ON, "clears the upper bound of BND0", frozenset({Code.CLI})),
    Policy("STI", How.SEQUENCE, After.ON, "sets it, and asks BND1 if an interrupt waits", frozenset({Code.STI})),
    Policy("PUSHF", How.PUSHF, After.ON, "pushes the virtual IF and IOPL", frozenset({Code.PUSHFQ, Code.PUSHFW})),
    Policy("POPF", How.POPF, After.ON, "sets the virtual IF and IOPL", frozenset({Code.POPFQ, Code.POPFW})),
    Policy(
        "SGDT SIDT SLDT STR SMSW",
        How.SEQUENCE,
        After.ON,
        "what the guest loaded is an immediate of the block",
        _codes("SGDT_M1664", "SIDT_M1664", "SLDT_", "STR_", "SMSW_"),
    ),
    Policy("MOV from a segment", How.SELECTOR, After.ON, "CS and SS would show the ring", _codes(
        "MOV_RM16_SREG", "MOV_R32M16_SREG", "MOV_R64M16_SREG")),
    Policy("LAR LSL VERR VERW", How.INSTRUCTION, After.ON, "the processor's GDT is empty", _codes(
        "LAR_", "LSL_", "VERR_", "VERW_")),
    Policy("CPUID RDTSC RDTSCP", How.INSTRUCTION, After.ON, "the guest's processor and time are virtual", frozenset(
        {Code.CPUID, Code.RDTSC, Code.RDTSCP})),
    Policy("IN OUT", How.IDENTICAL, After.ON, "the engine asks the monitor, inside the block", _codes("IN_", "OUT_")),
    Policy("INS OUTS", How.STEP, After.ON, "an element is an exit; RIP stays at the instruction", _codes("INS", "OUTS")
           - _codes("INSERT")),
    Policy("returns and far transfers", How.INSTRUCTION, After.LINK, "privileged: where they go, they say", _LEAVING),
    Policy("control and system tables", How.INSTRUCTION, After.LINK, "privileged: other code may follow", _STEERED),
    Policy("privileged", How.INSTRUCTION, After.ON, "privileged: trap's handlers", frozenset(FORMS)),
    Policy("SYSCALL", How.STEP, After.NEVER, "in the cache it would be a callout", frozenset({Code.SYSCALL})),
    Policy("FNSTENV FNSAVE FXSAVE", How.STEP, After.ON, "they store where the last x87 instruction ran", _codes(
        "FNSTENV", "FNSAVE", "FSTENV", "FSAVE", "FXSAVE")),
    Policy("IRETD IRETW", How.STEP, After.NEVER, "not offered: #GP", frozenset({Code.IRETD, Code.IRETW})),
    Policy("exceptions", How.IDENTICAL, After.NEVER, "they fault, and the map says where", frozenset(
        {Code.INT_IMM8, Code.INT3, Code.INT1, Code.UD2, Code.VMCALL, Code.VMMCALL}) | _codes("UD0_", "UD1_")),
    Policy("bounds", How.NOTHING, After.ON, "NOPs without MPX; in the cache they would act", frozenset(
        code for name, code in vars(Code).items()
        if name.startswith("RESERVEDNOP") and name.endswith(("0F1A", "0F1B")))),
    Policy("JMP", How.JUMP, After.NEVER, "chained to the target's block", frozenset(
        {Code.JMP_REL8_64, Code.JMP_REL32_64})),
    Policy("Jcc", How.CONDITION, After.ON, "to a stub, which is chained", frozenset(
        code for name, code in vars(Code).items() if name.startswith("J") and name.endswith(("_REL8_64", "_REL32_64"))
        and not name.startswith(("JMP", "JK", "JRCXZ", "JECXZ")))),
    Policy("LOOP JRCXZ", How.COUNT, After.ON, "as they are, over a stub: there is no form with 32 bits", _COUNTED),
    Policy("CALL", How.CALL, After.NEVER, "pushes the guest's return address, then as JMP", frozenset(
        {Code.CALL_REL32_64})),
    Policy("indirect JMP and CALL", How.INDIRECT, After.NEVER, "the target is looked up", frozenset(
        {Code.JMP_RM64, Code.CALL_RM64})),
    Policy("RET", How.RETURN, After.NEVER, "the target is looked up", frozenset({Code.RETNQ, Code.RETNQ_IMM16})),
    Policy("not decoded", How.INVALID, After.NEVER, "the processor says what it is, mostly #UD", frozenset(
        {Code.INVALID})),
)  # fmt: skip

ABSENT: Final = Policy("what CPUID hides, and runs", How.UNDEFINED, After.NEVER, "UD2: the guest's processor has none")
FOREIGN: Final = Policy("what CPUID hides", How.STEP, After.NEVER, "the processor refuses it: #UD or #GP")
TRAPPING: Final = Policy(
    "what traps for a device again and again", How.INSTRUCTION, After.ON, "the same exit, without a fault before it"
)
REPEATED: Final = Policy(
    "REP, in a checked block",
    How.STEP,
    After.LINK,
    "it may write over itself: each element is by what stands there then",
)
VECTOR: Final = Policy("SSE", How.VECTOR, After.ON, "identical, or UD2 while CR4.OSFXSR is clear or CR0.EM set")
MEMORY: Final = Policy("memory operand", How.IDENTICAL, After.ON, "the bytes; one relative to RIP becomes absolute")
PLAIN: Final = Policy("identical", How.IDENTICAL, After.ON, "the bytes")
LATER: Final = (ABSENT, FOREIGN, TRAPPING, REPEATED, VECTOR, MEMORY, PLAIN)

# What a guest's CPUID may show (pv.emulate.cpuid hides the rest). Not VMX, SVM, SMX, SMAP, FSGSBASE, PKU, XSAVE, AVX,
# CET, TSX, RDRAND, RDSEED, SEP: an instruction with any feature that is not here is undefined.
_PRESENT: Final = (
    *("INTEL8086", "INTEL186", "INTEL286", "INTEL386", "INTEL486", "X64", "FPU", "FPU287", "FPU387", "CMOV", "CX8"),
    *("CMPXCHG16B", "CPUID", "MSR", "TSC", "RDPMC", "RDTSCP", "SYSCALL", "MMX", "SSE", "SSE2", "SSE3", "SSSE3"),
    *("SSE4_1", "SSE4_2", "SSE4A", "AES", "PCLMULQDQ", "SHA", "GFNI", "D3NOW", "D3NOWEXT", "MOVBE", "POPCNT", "LZCNT"),
    *(
        "BMI1",
        "BMI2",
        "ADX",
        "CLFSH",
        "CLFLUSHOPT",
        "CLWB",
        "FXSR",
        "PAUSE",
        "MULTIBYTENOP",
        "PREFETCHW",
        "PREFETCHWT1",
    ),
)
PRESENT: Final = frozenset(getattr(CpuidFeature, name) for name in _PRESENT)
# What the processor beneath has, and runs: so does what has a VEX prefix. PKU is what hides the cache from the guest.
RUNNING: Final = frozenset({CpuidFeature.RDRAND, CpuidFeature.RDSEED, CpuidFeature.PKU})
XMM_KINDS: Final = frozenset(
    getattr(OpCodeOperandKind, name) for name in dir(OpCodeOperandKind) if name.startswith("XMM")
)
SSE_STATE: Final = frozenset({Code.LDMXCSR_M32, Code.STMXCSR_M32})


class _ByCode(dict[int, Policy]):
    """Code to row: the rows of TABLE, and others as they are asked for."""

    def of(self, instruction: Any) -> Policy:
        """The row of an instruction whose code is not here yet."""
        code: int = instruction.code
        row = self.get(code)
        if row is None:
            row = self[code] = _class_of(instruction)
        return row


def _class_of(instruction: Any) -> Policy:
    """The class of what no row of TABLE names."""
    features = instruction.cpuid_features()
    if not PRESENT.issuperset(features):
        runs = instruction.encoding != EncodingKind.LEGACY or not RUNNING.isdisjoint(features)
        return ABSENT if runs else FOREIGN
    info = OpCodeInfo(instruction.code)
    if instruction.code in SSE_STATE or not XMM_KINDS.isdisjoint(info.op_kinds()):
        return VECTOR
    return PLAIN if info.memory_size == MemorySize.UNKNOWN and not _names_memory(info) else MEMORY


def _names_memory(info: Any) -> bool:
    return any(kind in MODRM_MEMORY for kind in info.op_kinds())


MODRM_MEMORY: Final = frozenset(
    getattr(OpCodeOperandKind, name) for name in dir(OpCodeOperandKind) if name.startswith("MEM") or "_OR_MEM" in name
)

BY_CODE: Final = _ByCode()
for _row in reversed(TABLE):  # the first row that names a code has it
    for _code in _row.codes:
        BY_CODE[_code] = _row


def policy_of(instruction: Any) -> Policy:
    """The row of an iced-x86 instruction. It is found once for each code."""
    return BY_CODE.get(instruction.code) or BY_CODE.of(instruction)
