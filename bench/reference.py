"""What the same exit costs on Unicorn's own Python binding: the rows that every other row is measured against.

Nothing of pvkit is used here. Each row is a loop of one instruction and the hook that a user of the binding
writes to answer it: it reads what a monitor must read (arguments, RIP) and writes what it must write (result, RIP).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import unicorn
from unicorn import x86_const as x86

from bench.binding import DATA, TABLES, BindingGuest

ARGUMENTS: Final = (
    x86.UC_X86_REG_RDI,
    x86.UC_X86_REG_RSI,
    x86.UC_X86_REG_RDX,
    x86.UC_X86_REG_R10,
    x86.UC_X86_REG_R8,
    x86.UC_X86_REG_R9,
)
ARGUMENT_SETUP: Final = "mov rdi, 1; mov rsi, 2; mov rdx, 3; mov r10, 4; mov r8, 5; mov r9, 6"
BATCH: Final = 64
ENTRY: Final = struct.Struct("<8Q")  # number, six arguments, result
RESULT_OFFSET: Final = 56
GENERAL_PROTECTION, PAGE_FAULT = 13, 14
UNMAPPED: Final = 0x4000_0000


def vmcall() -> BindingGuest:
    """A hypercall with six arguments: number and arguments read, result written."""
    guest = BindingGuest("mov rax, 0x8001; vmcall", setup=ARGUMENT_SETUP)
    table = {0x8001: add_six}

    def undefined(uc: Any, _data: Any) -> bool:
        handler = table[uc.reg_read(x86.UC_X86_REG_RAX)]
        uc.reg_write(x86.UC_X86_REG_RAX, handler(*[uc.reg_read(register) for register in ARGUMENTS]))
        guest.skip(3)
        return True

    guest.uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, undefined)
    return guest


def vmcall_with_buffer() -> BindingGuest:
    """A hypercall with a buffer of 64 bytes: number, address and length read, the buffer copied, result written."""
    guest = BindingGuest("mov rax, 0x8002; vmcall", setup=f"mov rdi, {DATA}; mov rsi, 64")
    table = {0x8002: len}

    def undefined(uc: Any, _data: Any) -> bool:
        handler = table[uc.reg_read(x86.UC_X86_REG_RAX)]
        data = bytes(uc.mem_read(uc.reg_read(x86.UC_X86_REG_RDI), uc.reg_read(x86.UC_X86_REG_RSI)))
        uc.reg_write(x86.UC_X86_REG_RAX, handler(data))
        guest.skip(3)
        return True

    guest.uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, undefined)
    return guest


def multicall() -> BindingGuest:
    """A hypercall that is BATCH of them: every entry copied in at once, its handler called, its result written."""
    guest = BindingGuest("mov rax, 0x8003; vmcall", setup=f"mov rdi, {DATA}; mov rsi, {BATCH}")
    guest.uc.mem_write(DATA, ENTRY.pack(0x8001, 1, 2, 3, 4, 5, 6, 0) * BATCH)
    table = {0x8001: add_six}

    def undefined(uc: Any, _data: Any) -> bool:
        at, count = uc.reg_read(x86.UC_X86_REG_RDI), uc.reg_read(x86.UC_X86_REG_RSI)
        entries = ENTRY.iter_unpack(bytes(uc.mem_read(at, count * ENTRY.size)))
        for index, (number, *arguments, _) in enumerate(entries):
            result = table[number](*arguments)
            uc.mem_write(at + index * ENTRY.size + RESULT_OFFSET, result.to_bytes(8, "little"))
        uc.reg_write(x86.UC_X86_REG_RAX, count)
        guest.skip(3)
        return True

    guest.uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, undefined)
    return guest


def add_six(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """The plain Python handler."""
    return a + b + c + d + e + f


def port_out() -> BindingGuest:
    """OUT to a port: the hook is given the value and reads RIP."""
    guest = BindingGuest("out dx, al", setup="mov rdx, 0x3f8; mov rax, 0x41")
    written = bytearray(1)

    def out(uc: Any, _port: int, _size: int, value: int, _data: Any) -> None:
        uc.reg_read(x86.UC_X86_REG_RIP)
        written[0] = value
        guest.exits += 1

    guest.uc.hook_add(unicorn.UC_HOOK_INSN, out, None, 1, 0, x86.UC_X86_INS_OUT)
    return guest


def port_in() -> BindingGuest:
    """IN from a port: the hook reads RIP and gives the value."""
    guest = BindingGuest("in al, dx", setup="mov rdx, 0x3fd")

    def read(uc: Any, _port: int, _size: int, _data: Any) -> int:
        uc.reg_read(x86.UC_X86_REG_RIP)
        guest.exits += 1
        return 0x60

    guest.uc.hook_add(unicorn.UC_HOOK_INSN, read, None, 1, 0, x86.UC_X86_INS_IN)
    return guest


def cpuid() -> BindingGuest:
    """CPUID: leaf and subleaf read, four registers written."""
    guest = BindingGuest("mov eax, 1; xor ecx, ecx; cpuid")
    leaves = {(1, 0): (0x663, 0x800, 0x80202001, 0x78BFBFD)}
    results = (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RBX, x86.UC_X86_REG_RCX, x86.UC_X86_REG_RDX)

    def identify(uc: Any, _data: Any) -> int:
        leaf = leaves[uc.reg_read(x86.UC_X86_REG_EAX), uc.reg_read(x86.UC_X86_REG_ECX)]
        for register, value in zip(results, leaf, strict=True):
            uc.reg_write(register, value)
        guest.exits += 1
        return 1  # the processor's own CPUID is not run

    guest.uc.hook_add(unicorn.UC_HOOK_INSN, identify, None, 1, 0, x86.UC_X86_INS_CPUID)
    return guest


def system_call() -> BindingGuest:
    """SYSCALL: the number read, RCX and the result written. The engine has moved RIP past it already."""
    guest = BindingGuest("mov eax, 39; syscall")

    def syscall(uc: Any, _data: Any) -> None:
        uc.reg_write(x86.UC_X86_REG_RCX, uc.reg_read(x86.UC_X86_REG_RIP))
        uc.reg_write(x86.UC_X86_REG_RAX, uc.reg_read(x86.UC_X86_REG_RAX) + 1)
        guest.exits += 1

    guest.uc.hook_add(unicorn.UC_HOOK_INSN, syscall, None, 1, 0, x86.UC_X86_INS_SYSCALL)
    return guest


def trapped(
    body: str, length: int, emulate: Callable[[Any], None], *, setup: str = "", vector: int = GENERAL_PROTECTION
) -> BindingGuest:
    """An instruction of `length` bytes that raises `vector` at CPL 1, answered where that reaches the hook."""
    guest = BindingGuest(body, setup=setup, cpl=1)

    def interrupt(uc: Any, raised: int, _data: Any) -> None:
        if raised != vector:
            uc.emu_stop()
            return
        emulate(uc)
        guest.forget_fault()
        guest.skip(length)

    guest.uc.hook_add(unicorn.UC_HOOK_INTR, interrupt)
    return guest


def clear_interrupts() -> BindingGuest:
    """CLI at CPL 1: an interrupt flag in Python is cleared."""
    virtual = {"interrupt_flag": True}
    return trapped("cli", 1, lambda _uc: virtual.update(interrupt_flag=False))


def clear_and_set_interrupts() -> BindingGuest:
    """CLI and STI at CPL 1: the opcode read to tell them apart, an interrupt flag in Python changed."""
    virtual = {"interrupt_flag": True}
    opcodes = {0xFA: False, 0xFB: True}

    def change(uc: Any) -> None:
        virtual["interrupt_flag"] = opcodes[uc.mem_read(uc.reg_read(x86.UC_X86_REG_RIP), 1)[0]]

    return trapped("cli; sti", 1, change)


def read_msr() -> BindingGuest:
    """RDMSR at CPL 1: the index read, two registers written."""
    values = {0xC0000080: 0xD01}

    def read(uc: Any) -> None:
        value = values[uc.reg_read(x86.UC_X86_REG_ECX)]
        uc.reg_write(x86.UC_X86_REG_RAX, value & 0xFFFFFFFF)
        uc.reg_write(x86.UC_X86_REG_RDX, value >> 32)

    return trapped("rdmsr", 2, read, setup="mov rcx, 0xc0000080")


def invalidate_page() -> BindingGuest:
    """INVLPG at CPL 1: the address read, CR3 written (the binding has no other way to drop a translation)."""

    def drop(uc: Any) -> None:
        uc.reg_read(x86.UC_X86_REG_RBX)
        uc.reg_write(x86.UC_X86_REG_CR3, TABLES)

    return trapped("invlpg [rbx]", 3, drop, setup=f"mov rbx, {DATA}")


def page_fault() -> BindingGuest:
    """A page fault, its address read; the hook itself steps over it, where a guest's handler takes a second exit."""
    return trapped(
        "mov al, byte ptr [rbx]",
        2,
        lambda uc: uc.reg_read(x86.UC_X86_REG_CR2),
        setup=f"mov rbx, {UNMAPPED}",
        vector=PAGE_FAULT,
    )


def write_cr3() -> BindingGuest:
    """MOV CR3 at CPL 1: the source register read, the real CR3 written (which flushes the TLB)."""

    def load(uc: Any) -> None:
        uc.reg_write(x86.UC_X86_REG_CR3, uc.reg_read(x86.UC_X86_REG_RAX))

    return trapped("mov cr3, rax", 3, load, setup=f"mov rax, {TABLES}")


def call_and_return() -> BindingGuest:
    """CALL and RET, no exit. bench.rows runs the same."""
    return BindingGuest(CALL_RET, setup=LEAF)


def compute() -> BindingGuest:
    """A loop that never exits: arithmetic, one load and one store a turn. bench.rows runs the same."""
    return BindingGuest(COMPUTE, setup=f"mov rbx, {DATA}; mov rax, 1")


CALL_RET, LEAF = "call leaf", "jmp begin; leaf:; ret; begin:; nop"
COMPUTE: Final = (
    "imul rax, rax, 0x41; add rax, 0x3039; mov rcx, rax; shr rcx, 20; and ecx, 0x3f8; "
    "mov rdx, qword ptr [rbx + rcx]; xor rax, rdx; mov qword ptr [rbx + rcx], rax"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """One row: `twin` is the kind of the pvkit rows it stands beside, iterations those of one round.

    exits and operations are those of one iteration; a time is divided by operations.
    """

    twin: str
    make: Callable[[], BindingGuest]
    iterations: int
    exits: int = 1
    operations: int = 1


REFERENCES: Final = (
    Reference("hypercall", vmcall, 10_000),
    Reference("hypercall with 64 bytes", vmcall_with_buffer, 10_000),
    Reference("multicall of 64", multicall, 500, operations=BATCH),
    Reference("port out", port_out, 50_000),
    Reference("port in", port_in, 50_000),
    Reference("cpuid", cpuid, 10_000),
    Reference("rdmsr", read_msr, 10_000),
    Reference("workload syscall", system_call, 10_000),
    Reference("cli", clear_interrupts, 10_000),
    Reference("cli sti", clear_and_set_interrupts, 10_000, exits=2),
    Reference("invlpg", invalidate_page, 10_000),
    Reference("page fault", page_fault, 10_000),
    Reference("mov cr3", write_cr3, 10_000),
    Reference("call ret", call_and_return, 2_000_000, exits=0),
    Reference("compute", compute, 5_000_000, exits=0),
)
