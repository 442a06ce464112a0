"""A guest that does what a list says: edits page tables, invalidates, switches, reads, writes, executes, at either
privilege; its #PF handler writes CR2 and the error code down and goes on with the next step.

One program, assembled once. The host writes its list, its tables and its descriptors into memory before it runs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pv.exits import StopWhy
from pv.machine import Machine
from tests.pv.engines.unicorn_memory.machines import BASE, assemble, machine

STEPS, LOG = 0x800000, 0xC00000
IDT, GDT, TSS, POINTERS = 0x40000, 0x41000, 0x42000, 0x43000
KERNEL_STACK = 0x78000
USER_STUBS_GPA, USER_STUBS = 0x110000, 1 << 39
FIXED_TABLES = 0x20000
ON_PAGE_FAULT, ON_DONE, ON_OTHER = BASE + 0x1000, BASE + 0x2000, BASE + 0x3000
RETURN_AT, LEAVE_AT = 0xFF0, 0xFE0  # in a data page: RET, and INT 0x81

END, EDIT, INVLPG, LOAD_CR3, READ, WRITE, EXECUTE, USER_READ, USER_WRITE, USER_EXECUTE, START, LOAD_CR0, LOAD_EFER = (
    range(13)
)
FAULTED, DONE, SURPRISED = 1, 2, 3

MAIN = f"""
    mov rax, [r12]
    mov rbx, [r12 + 8]
    mov rcx, [r12 + 16]
    add r12, 32
    cmp rax, {EDIT}
    je edit
    cmp rax, {INVLPG}
    je invalidate
    cmp rax, {LOAD_CR3}
    je load_cr3
    cmp rax, {READ}
    je read
    cmp rax, {WRITE}
    je write
    cmp rax, {EXECUTE}
    je execute
    cmp rax, {USER_READ}
    je user_read
    cmp rax, {USER_WRITE}
    je user_write
    cmp rax, {USER_EXECUTE}
    je user_enter
    cmp rax, {START}
    je start
    cmp rax, {LOAD_CR0}
    je load_cr0
    cmp rax, {LOAD_EFER}
    je load_efer
    cli
    hlt
edit:
    mov [rbx], rcx
    jmp {BASE}
invalidate:
    invlpg [rbx]
    jmp {BASE}
load_cr3:
    mov cr3, rbx
    jmp {BASE}
load_cr0:
    mov cr0, rbx
    jmp {BASE}
load_efer:
    mov ecx, 0xc0000080
    mov eax, ebx
    xor edx, edx
    wrmsr
    jmp {BASE}
start:
    lgdt [{POINTERS}]
    lidt [{POINTERS + 16}]
    mov ax, 0x28
    ltr ax
    mov rsp, {KERNEL_STACK}
    jmp {BASE}
read:
    mov rax, [rbx]
    jmp done
write:
    mov [rbx], rcx
    xor eax, eax
    jmp done
execute:
    call rbx
    xor eax, eax
    jmp done
user_read:
    mov rdx, {USER_STUBS}
    jmp user
user_write:
    mov rdx, {USER_STUBS + 16}
    jmp user
user_enter:
    mov rdx, rbx
user:
    xor eax, eax
    push 0x1b
    push 0
    push 2
    push 0x23
    push rdx
    iretq
done:
    mov qword ptr [r13], {DONE}
    mov [r13 + 8], rax
    mov qword ptr [r13 + 16], 0
    add r13, 24
    jmp {BASE}
"""
PAGE_FAULT = f"""
    pop rax
    mov rbx, cr2
    mov qword ptr [r13], {FAULTED}
    mov [r13 + 8], rbx
    mov [r13 + 16], rax
    add r13, 24
    mov rsp, {KERNEL_STACK}
    jmp {BASE}
"""
LEFT = f"""
    mov qword ptr [r13], {DONE}
    mov [r13 + 8], rax
    mov qword ptr [r13 + 16], 0
    add r13, 24
    mov rsp, {KERNEL_STACK}
    jmp {BASE}
"""
OTHER = f"""
    mov qword ptr [r13], {SURPRISED}
    add r13, 24
    cli
    hlt
"""
USER = "mov rax, [rbx]; int 0x81"
USER_STORE = "mov [rbx], rcx; int 0x81"


def gate(handler: int, dpl: int = 0) -> bytes:
    """A 64-bit interrupt gate to the kernel's code segment (SDM vol. 3, figure 6-8)."""
    kind = 0x8E00 | dpl << 13
    return struct.pack("<HHHHII", handler & 0xFFFF, 0x08, kind, handler >> 16 & 0xFFFF, handler >> 32, 0)


@dataclass(frozen=True)
class Record:
    """What one access came to: its data, or the fault's CR2 and error code."""

    kind: int
    value: int
    error: int


def image() -> bytes:
    """The program: the steps' loop, then each handler on a page of its own."""
    code = assemble(MAIN).ljust(0x1000, b"\xcc")
    code += assemble(PAGE_FAULT, ON_PAGE_FAULT).ljust(0x1000, b"\xcc")
    code += assemble(LEFT, ON_DONE).ljust(0x1000, b"\xcc")
    return code + assemble(OTHER, ON_OTHER)


def fixed_entries() -> tuple[int, int]:
    """Entries 0 and 1 of every root: RAM identity for the kernel, the stubs of CPL 3."""
    return FIXED_TABLES + 0x3000 | 0x63, FIXED_TABLES | 0x67


def prepare(steps: list[tuple[int, int, int]], root: int, **options: object) -> Machine:
    """A machine about to do `steps` (kind, a, b) with the tables at `root`, whose entries 0 and 1 the caller writes."""
    made = machine(image(), **options)  # type: ignore[arg-type]
    memory = made.memory
    for level, entry in enumerate((FIXED_TABLES + 0x1000 | 0x67, FIXED_TABLES + 0x2000 | 0x67, USER_STUBS_GPA | 0x65)):
        memory.write_uint(FIXED_TABLES + level * 0x1000, 8, entry)
    memory.write_uint(FIXED_TABLES + 0x3000, 8, FIXED_TABLES + 0x4000 | 0x63)
    large = [index << 21 | 0xE3 for index in range(memory.size_bytes >> 21)]
    memory.write(FIXED_TABLES + 0x4000, struct.pack(f"<{len(large)}Q", *large))
    memory.write(USER_STUBS_GPA, assemble(USER, USER_STUBS).ljust(16, b"\xcc") + assemble(USER_STORE, USER_STUBS + 16))
    gates = [gate(ON_OTHER)] * 256
    gates[14], gates[0x81] = gate(ON_PAGE_FAULT), gate(ON_DONE, dpl=3)
    memory.write(IDT, b"".join(gates))
    tss = struct.pack("<Q", 0x0000_8900_0000_0067 | (TSS & 0xFFFFFF) << 16) + bytes(8)
    flat = [0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_F300_0000_FFFF, 0x00AF_FB00_0000_FFFF]
    memory.write(GDT, struct.pack("<5Q", *flat) + tss)
    memory.write_uint(TSS + 4, 8, KERNEL_STACK)
    memory.write(POINTERS, struct.pack("<HQ6xHQ", 0x37, GDT, 0xFFF, IDT))
    every = [(START, 0, 0), (LOAD_CR3, root, 0), *steps, (END, 0, 0)]
    memory.write(STEPS, b"".join(struct.pack("<4Q", *step, 0) for step in every))
    made.vcpu.r12, made.vcpu.r13 = STEPS, LOG
    return made


def records(made: Machine) -> list[Record]:
    """What the guest wrote down, in order."""
    size_bytes = made.vcpu.r13 - LOG
    return [Record(*words) for words in struct.iter_unpack("<3Q", made.memory.read(LOG, size_bytes))]


def finish(made: Machine) -> list[Record]:
    """Run to the end of the list. Fails where the guest ended otherwise."""
    outcome = made.run(timeout=60)
    assert outcome.why is StopWhy.HALTED, outcome
    return records(made)
