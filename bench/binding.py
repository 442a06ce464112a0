"""A guest on Unicorn's own Python binding, in long mode at CPL 0 or 1: what the reference rows stand on.

Nothing of pvkit is used here. Code and data stand on 4 KiB pages, code in executable ones and data in ones that are
not: the engine stores to no-execute pages many times faster, and a fair reference has what its twins have.
"""

from __future__ import annotations

import ctypes
import struct
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
