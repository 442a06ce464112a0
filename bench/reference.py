"""What the same exit costs on Unicorn's own Python binding: the rows that every other row is measured against.

Nothing of pvkit is used here. Each row is a loop of one instruction and the hook that a user of the binding
writes to answer it: it reads what a monitor must read (arguments, RIP) and writes what it must write (result, RIP).
The loops stand in long mode on 4 KiB pages, code in executable ones and data in ones that are not: the engine
stores to no-execute pages many times faster, and a fair reference has what its twins have.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import keystone
import unicorn
from unicorn import x86_const as x86

CODE: Final = 0x10000
DATA: Final = 0x20000
TABLES: Final = 0x30000
SPAN: Final = 0x10000  # bytes of each
PAGE: Final = 0x1000
PRESENT, WRITABLE, NO_EXECUTE = 1, 2, 1 << 63
CR0: Final = 0x80050033  # PG AM WP NE ET MP PE
CR4: Final = 0x620  # OSXMMEXCPT OSFXSR PAE
EFER: Final = (0xC0000080, 0xD00)  # index, and NXE LMA LME
TRANSLATION_BUFFER_BYTES: Final = 1 << 20
ARGUMENTS: Final = (
    x86.UC_X86_REG_RDI,
    x86.UC_X86_REG_RSI,
    x86.UC_X86_REG_RDX,
    x86.UC_X86_REG_R10,
    x86.UC_X86_REG_R8,
    x86.UC_X86_REG_R9,
)
ARGUMENT_SETUP: Final = "mov rdi, 1; mov rsi, 2; mov rdx, 3; mov r10, 4; mov r8, 5; mov r9, 6"

# Offsets in the binding's saved context, for Unicorn 2.1.x on x86-64: the CPU state starts 40 bytes in.
STATE: Final = 40
HFLAGS: Final = STATE + 0xB0  # bits 1-0 are the CPL
SEGMENTS: Final = STATE + 0xB8  # ES CS SS DS FS GS, 24 bytes each: selector, base at +8, limit at +16, flags at +20
OLD_EXCEPTION: Final = STATE + 0x1578  # -1 once a fault has been dealt with
CODE_FLAGS: Final = 0x00AF9B00  # a 64-bit code segment, DPL 0
DATA_FLAGS: Final = 0x00CF9300
DPL_SHIFT: Final = 13


class BindingGuest:
    """A guest on the plain binding: each run executes `body` a number of times, counted in RBP, at `cpl`."""

    def __init__(self, body: str, *, setup: str = "", cpl: int = 0) -> None:
        self.uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self.uc.ctl_set_tcg_buffer_size(TRANSLATION_BUFFER_BYTES)
        self.uc.mem_map(CODE, SPAN, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.uc.mem_map(DATA, SPAN, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.uc.mem_map(TABLES, SPAN, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.turn_paging_on()
        # at CPL 0 HLT ends a run by itself; above, INT 0x80 reaches the hook, which stops
        end = "hlt" if cpl == 0 else "int 0x80"
        self.uc.mem_write(CODE, assemble(f"{setup}; again: {body}; dec rbp; jnz again; {end}"))
        self.cpl = cpl
        self.exits = 0
        self.context: Any = self.uc.context_save()

    def turn_paging_on(self) -> None:
        """Map code and data where they are: four levels of tables of one page each."""
        tables = {TABLES + level * PAGE: [TABLES + (level + 1) * PAGE | PRESENT | WRITABLE] for level in range(3)}
        leaves = [0] * (TABLES // PAGE)
        for page in range(SPAN // PAGE):
            leaves[CODE // PAGE + page] = CODE + page * PAGE | PRESENT
            leaves[DATA // PAGE + page] = DATA + page * PAGE | PRESENT | WRITABLE | NO_EXECUTE
        for address, entries in (tables | {TABLES + 3 * PAGE: leaves}).items():
            self.uc.mem_write(address, struct.pack(f"<{len(entries)}Q", *entries))
        self.uc.reg_write(x86.UC_X86_REG_CR3, TABLES)
        self.uc.reg_write(x86.UC_X86_REG_CR4, CR4)
        self.uc.reg_write(x86.UC_X86_REG_MSR, EFER)
        self.uc.reg_write(x86.UC_X86_REG_CR0, CR0)

    def run(self, iterations: int) -> None:
        """Run the loop `iterations` times."""
        self.uc.reg_write(x86.UC_X86_REG_RBP, iterations)
        self.uc.reg_write(x86.UC_X86_REG_RSP, DATA + SPAN)
        if self.cpl:
            self.enter(self.cpl)
        self.uc.emu_start(CODE, 0)

    def enter(self, cpl: int) -> None:
        """Lower the privilege. The binding has no call for it, so the saved context is changed."""
        self.uc.context_update(self.context)
        self.poke(HFLAGS, self.peek(HFLAGS) & ~3 | cpl)
        for segment in range(6):
            flags = CODE_FLAGS if segment == 1 else DATA_FLAGS
            selector = 0x18 if segment == 1 else 0x20
            self.poke(SEGMENTS + 24 * segment, selector | cpl)
            self.poke(SEGMENTS + 24 * segment + 16, 0xFFFFFFFF)
            self.poke(SEGMENTS + 24 * segment + 20, flags | cpl << DPL_SHIFT)
        self.uc.context_restore(self.context)

    def forget_fault(self) -> None:
        """Tell the engine that a fault is over, or the next one becomes a double fault."""
        self.uc.context_update(self.context)
        self.poke(OLD_EXCEPTION, 0xFFFFFFFF)
        self.uc.context_restore(self.context)

    def word(self, offset: int) -> ctypes.c_uint32:
        """The 32-bit word at `offset` of the saved context, in place."""
        return ctypes.c_uint32.from_address(self.context.context.value + offset)

    def peek(self, offset: int) -> int:
        return self.word(offset).value

    def poke(self, offset: int, value: int) -> None:
        self.word(offset).value = value

    def skip(self, length: int) -> None:
        """Count the exit and move RIP past its instruction."""
        self.exits += 1
        rip = self.uc.reg_read(x86.UC_X86_REG_RIP)
        self.uc.reg_write(x86.UC_X86_REG_RIP, rip + length)


def assemble(text: str) -> bytes:
    """Machine code of `text`, linked at CODE."""
    encoding, _ = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64).asm(text, CODE)
    return bytes(encoding)


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


def trapped(body: str, length: int, emulate: Callable[[Any], None], *, setup: str = "") -> BindingGuest:
    """A privileged instruction of `length` bytes at CPL 1, answered where its #GP reaches the hook."""
    guest = BindingGuest(body, setup=setup, cpl=1)

    def interrupt(uc: Any, vector: int, _data: Any) -> None:
        if vector != 13:
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


def write_cr3() -> BindingGuest:
    """MOV CR3 at CPL 1: the source register read, the real CR3 written (which flushes the TLB)."""

    def load(uc: Any) -> None:
        uc.reg_write(x86.UC_X86_REG_CR3, uc.reg_read(x86.UC_X86_REG_RAX))

    return trapped("mov cr3, rax", 3, load, setup=f"mov rax, {TABLES}")


def compute() -> BindingGuest:
    """A loop that never exits: arithmetic, one load and one store a turn. bench.rows runs the same."""
    return BindingGuest(COMPUTE, setup=f"mov rbx, {DATA}; mov rax, 1")


COMPUTE: Final = (
    "imul rax, rax, 0x41; add rax, 0x3039; mov rcx, rax; shr rcx, 20; and ecx, 0x3f8; "
    "mov rdx, qword ptr [rbx + rcx]; xor rax, rdx; mov qword ptr [rbx + rcx], rax"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """One row: `twin` is the kind of the pvkit rows it stands beside, iterations those of one round, exits of one."""

    twin: str
    make: Callable[[], BindingGuest]
    iterations: int
    exits: int = 1


REFERENCES: Final = (
    Reference("hypercall", vmcall, 10_000),
    Reference("port out", port_out, 50_000),
    Reference("port in", port_in, 50_000),
    Reference("cpuid", cpuid, 10_000),
    Reference("workload syscall", system_call, 10_000),
    Reference("cli", clear_interrupts, 10_000),
    Reference("mov cr3", write_cr3, 10_000),
    Reference("compute", compute, 5_000_000, exits=0),
)
