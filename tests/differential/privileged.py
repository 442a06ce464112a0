"""One privileged instruction where the processor runs it at CPL 0, and under trap, where a handler does.

Then all state is read back: by MOV and RDMSR, executed in the one and emulated in the other; descriptor tables from the
vcpu, since what reads them does not trap.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pv.dispatch import Row
from pv.exits import Reason, Reply, StopWhy, stop
from pv.memory import GuestMemory
from tests.differential.guests import BareGuest
from tests.fuzz.genome import Genome
from tests.pv.engines.unicorn.guests import (
    DATA,
    GDT,
    GDT_WORDS,
    IDT,
    LDT_SELECTOR,
    TrapGuest,
    assemble,
)

GENOME_BYTES: Final = 40
ENDED: Final = 0x99
BUFFER, OPERAND = DATA, DATA + 0x800
MSRS: Final = {
    "STAR": 0xC000_0081, "LSTAR": 0xC000_0082, "CSTAR": 0xC000_0083, "FMASK": 0xC000_0084, "FS_BASE": 0xC000_0100,
    "GS_BASE": 0xC000_0101, "KERNEL_GS_BASE": 0xC000_0102, "SYSENTER_CS": 0x174, "SYSENTER_ESP": 0x175,
    "SYSENTER_EIP": 0x176, "EFER": 0xC000_0080, "PAT": 0x277,
}  # fmt: skip
CONTROL, DEBUG = ("cr0", "cr2", "cr3", "cr4", "cr8"), ("dr0", "dr1", "dr2", "dr3", "dr6", "dr7")
TABLES: Final = ("gdt_base", "gdt_limit", "idt_base", "idt_limit", "ldt_selector", "tr_selector")
SELECTORS: Final = {"es": 0, "ss": 2, "ds": 3, "fs": 4, "gs": 5}
STORE: Final = "mov [r15], rax; add r15, 8; "
READ_BACK: Final = (
    f"mov r14, rax; mov r13, rdx; mov r12, rcx; mov r15, {BUFFER}; {STORE} mov rax, r13; {STORE} mov rax, r12; {STORE}"
    + "".join(f"mov rax, {name}; {STORE}" for name in (*CONTROL, *DEBUG))
    + "".join(f"mov ecx, {index}; rdmsr; shl rdx, 32; or rax, rdx; {STORE}" for index in MSRS.values())
    + "hlt"
)
FIELDS: Final = ("rax", "rdx", "rcx", *CONTROL, *DEBUG, *MSRS, *TABLES, *SELECTORS, "interrupt flag", "GDT")
CR4: Final = 0x620  # PAE, OSFXSR, OSXMMEXCPT
SET_UP: Final = (  # tables of its own, and registers that differ from each other; RBX leads to the operand
    f"mov rbx, {OPERAND}; lgdt [rbx + 0x20]; lidt [rbx + 0x30]; mov eax, {CR4}; mov cr4, rax; mov eax, 0x80000033; "
    "mov cr0, rax; mov eax, 0x1111; mov cr2, rax; mov ecx, 0xc0000102; mov eax, 0x2222; xor edx, edx; wrmsr; "
    "mov rax, [rbx + 0x40]; mov rdx, [rbx + 0x48]; mov rcx, [rbx + 0x50]; "
)


class Privileged(NamedTuple):
    """`text` is executed with RAX, RDX, RCX; memory at OPERAND holds `operand`."""

    text: str
    rax: int = 0
    rdx: int = 0
    rcx: int = 0
    operand: bytes = b""

    def __str__(self) -> str:
        return f"{self.text} rax {self.rax:#x} rdx {self.rdx:#x} rcx {self.rcx:#x} operand {self.operand.hex()}"


State = dict[str, int]


class Left(NamedTuple):
    """fault: its vector, or -1; the state is that after the instruction, empty where it faulted."""

    fault: int
    state: State


CR0_TOGGLES: Final = tuple(1 << bit for bit in (1, 2, 3, 5, 16, 18, 29, 30, 31, 0, 4, 6, 28, 32, 63))
CR4_TOGGLES: Final = tuple(1 << bit for bit in (2, 3, 4, 5, 7, 8, 9, 10, 11, 13, 16, 17, 18, 20, 21, 12, 31, 32))
EFER: Final = 0x501  # SCE, LME, LMA
EFER_TOGGLES: Final = (1, 1 << 8, 1 << 10, 1 << 11, 1 << 1, 1 << 15, 1 << 40)
VALUES: Final = (
    0,
    1,
    0xFF,
    1 << 31,
    0xFFFF_FFFF,
    1 << 32,
    1 << 47,
    (1 << 47) - 1,
    (1 << 64) - (1 << 47),
    (1 << 64) - 1,
)


def make(data: bytes) -> Privileged:
    """The instruction that `data` draws."""
    genome = Genome(data)

    def value() -> int:
        return genome.choose(VALUES) if genome.chance(128) else genome.number(8)

    def toggled(base: int, toggles: tuple[int, ...]) -> int:
        for _ in range(genome.number() % 4):
            base ^= genome.choose(toggles)
        return base

    kind = genome.number() % 17
    if kind == 0:
        return Privileged("mov cr0, rax", toggled(0x8000_0033, CR0_TOGGLES))
    if kind == 1:
        return Privileged("mov cr4, rax", toggled(CR4, CR4_TOGGLES))
    if kind == 2:
        return Privileged(
            f"mov {genome.choose(('cr2', 'cr8'))}, rax", value() if genome.chance(128) else genome.number() % 17
        )
    if kind == 3:
        return Privileged(f"mov {genome.choose(DEBUG)}, rax", value())
    if kind in (4, 5):
        index, new = genome.choose(tuple(MSRS.values())), value()
        if index == MSRS["EFER"]:
            new = toggled(EFER, EFER_TOGGLES)
        return Privileged("wrmsr", new & 0xFFFF_FFFF, new >> 32, index)
    if kind == 6:
        return Privileged("rdmsr", value(), value(), genome.choose((*MSRS.values(), 0x1234_5678)))
    if kind == 7:
        text = genome.choose(("lgdt", "lidt"))
        return Privileged(
            f"{text} [rbx]", operand=genome.number(2).to_bytes(2, "little") + value().to_bytes(8, "little")
        )
    if kind == 8:
        selector = genome.choose((0, 3, 0x28, 0x38, 0x08, 0x10, 0x2C, 0xFFF8, genome.number()))
        return Privileged(genome.choose(("lldt ax", "ltr ax")), selector)
    if kind == 9:
        return Privileged("lmsw ax", value())
    if kind == 10:
        return Privileged("lmsw word ptr [rbx]", operand=genome.bytes(2))
    if kind == 11:
        return Privileged(f"mov rax, {genome.choose((*CONTROL, *DEBUG))}", value())
    if kind == 12:
        return Privileged(f"invlpg [{genome.choose(('rax', 'rbx'))}]", value())
    if kind in (13, 14, 15):
        selector = genome.choose((*range(0, len(GDT_WORDS) * 8 + 8, 8), LDT_SELECTOR, 0xFFF8)) | genome.number() % 4
        if genome.chance(192):
            segment = genome.choose(("es", "ds", "fs", "gs", "ss"))
            return Privileged(f"mov {segment}, ax", selector if segment != "ss" or selector > 3 else 8)
        text = f"{genome.choose(('lss', 'lfs', 'lgs'))} {genome.choose(('ecx', 'cx'))}, [rbx]"
        if text.startswith("lss"):
            selector = selector if selector > 3 else 8  # a null one does not trap: docs/holes.md
        offset = genome.bytes(4 if "ecx" in text else 2)
        return Privileged(text, operand=offset + selector.to_bytes(2, "little"))
    return Privileged(genome.choose(("clts", "swapgs", "cli", "sti", "wbinvd", "invd", "xor eax, eax")), value())


def program(case: Privileged) -> bytes:
    """Set-up, the case, and what reads every register back."""
    return assemble(SET_UP) + assemble(case.text) + assemble(READ_BACK)


def place(memory: GuestMemory, case: Privileged) -> None:
    """The case's operands and the descriptor tables' pointers."""
    memory.write(OPERAND, case.operand)
    memory.write(GDT, b"".join(word.to_bytes(8, "little") for word in GDT_WORDS))
    for at, base, limit in ((0x20, GDT, len(GDT_WORDS) * 8 - 1), (0x30, IDT, 0xFFF)):
        memory.write(OPERAND + at, limit.to_bytes(2, "little") + base.to_bytes(8, "little"))
    for at, value in ((0x40, case.rax), (0x48, case.rdx), (0x50, case.rcx)):
        memory.write_uint(OPERAND + at, 8, value)


def left(vcpu: Any, memory: GuestMemory) -> Left:
    why, status, detail = vcpu.run(10_000, 20 * 10**9)
    assert why is StopWhy.EXITED, f"{why.value}: {detail}"
    if status != ENDED:
        return Left(status, {})
    words = [memory.read_uint(BUFFER + 8 * i, 8) for i in range(FIELDS.index(TABLES[0]))]
    tables, selectors = (getattr(vcpu.virtual, name) for name in TABLES), map(vcpu.selector, SELECTORS.values())
    descriptors = int.from_bytes(memory.read(GDT, len(GDT_WORDS) * 8), "little")
    seen = (*words, *tables, *selectors, vcpu.rflags >> 9 & 1, descriptors)
    return Left(-1, dict(zip(FIELDS, seen, strict=True)))


def _ended(_exit: object) -> Reply:
    return stop(ENDED)


def run(case: Privileged, kind: type[TrapGuest]) -> Left:
    """What `case` leaves in such a guest. Faults go through its IDT to stubs that end it with the vector."""
    with kind(program(case)) as guest:
        place(guest.memory, case)
        guest.vcpu.virtual.tr_selector = 0
        for vector in range(32):
            guest.gate(vector, ist=1)
        guest.answer(Row(Reason.HLT, 0, 0, _ended, "test", "HLT"))
        return left(guest.vcpu, guest.memory)


def natively(case: Privileged) -> Left:
    """By the processor itself at CPL 0; CR8, and MSRs that no guest has to itself, have the same handlers here."""
    return run(case, BareGuest)


def emulated(case: Privileged) -> Left:
    return run(case, TrapGuest)
