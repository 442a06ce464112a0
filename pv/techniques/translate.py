"""Binary translation: an unmodified guest whose kernel code is rewritten before it runs.

Trap-and-emulate asks the processor to trap, and on x86 some instructions do not. VMware's answer of 1999 was to look at
them first. The ground is that of trap: the guest kernel at CPL 1, its programs at CPL 3, shadow page tables, the
monitor's own IDT and LSTAR, the same handlers. But no kernel instruction runs where the guest has it:

- Where control comes to guest kernel code that has not run yet, a block of it is translated into a cache
  (pv.translate): most instructions are copied, those that would show or change the machine are replaced.
  pv.translate.policy is the table of which become what.
- CLI and STI become instructions of the cache: the guest's interrupt flag is the bound of a register that the guest's
  processor does not have. STI, and all else that sets it, asks a second bound whether an interrupt waits. No exit.
- SGDT, SIDT, SLDT, STR, SMSW and MOV from CS become stores of immediates: what the guest loaded is in the block,
  and loading another value drops the block.
- What needs the monitor becomes a callout, a SYSCALL in the cache. For an instruction that trap's #GP would have led to
  it is the same exit with the same handler, without an exception. PUSHF, POPF, RET and indirect branches are callouts
  that the core answers by itself: no exit.
- Direct branches lead from block to block in the cache; indirect ones and returns look the guest's address up. Return
  addresses on the stack are the guest's.
- Programs at CPL 3 run untranslated.

Where the guest may look, it sees itself. RIP, in frames and to handlers, is the guest's: each instruction of the cache
is mapped to one of the guest. Reads of code read what the guest wrote there; a page with translated code is
write-protected in the shadow, and writing to it drops what was translated. The cache is in a slot of the address space
that the guest's tables know nothing of, with a protection key under which it can be executed and not be read.

Of trap's holes these are closed: SGDT, SIDT, SLDT, STR, SMSW; PUSHF and POPF; MOV from CS and SS; LAR, LSL, VERR and
VERW; null selectors for SS, and LSS, LFS and LGS of 64 bits; instructions that CPUID hides, VEX among them; SSE with
CR4.OSFXSR clear. Those are left that are no matter of instructions: breakpoints do not fire, and call gates, IRETD and
code of 32 bits are not offered.

What it costs: a block is translated once, by Python, at some microseconds an instruction; RET and indirect branches
cost a lookup each where trap runs them as they are; a page that has code and is written to often costs faults, until
its blocks check themselves instead.
"""

from __future__ import annotations

from typing import Final

from pv.dispatch import ANY_KEY, Row, Shape
from pv.emulate.cpuid import cpuid_row, guest_cpuid
from pv.emulate.descriptor_tables import descriptor_table_store_rows
from pv.emulate.mmio_decode import decode_translated
from pv.emulate.privileged import privileged_rows
from pv.emulate.segment_queries import segment_query_rows
from pv.emulate.system_registers import SystemRegisters
from pv.emulate.time_stamp import time_stamp_rows
from pv.engines.base import Vcpu
from pv.exits import Reason
from pv.techniques.base import NativeHandlers, Technique
from pv.translate.block import Translator

NAME: Final = "translate"
PAGE_FAULT: Final = 14


def rows(vcpu: Vcpu, native: NativeHandlers, system: SystemRegisters) -> list[Row]:
    """Those of trap, and rows for what does not trap but is not left to the processor."""
    cpuid = guest_cpuid(vcpu, hypervisor=False, local_apic=True)
    every = (ANY_KEY, ANY_KEY)
    return [
        Row(Reason.EXCEPTION_NMI, PAGE_FAULT, PAGE_FAULT, native.shadow_fault, NAME, "shadow fault", Shape.NATIVE),
        Row(Reason.EXCEPTION_NMI, *every, native.reflect, NAME, "reflect", Shape.NATIVE),
        Row(Reason.SOFTWARE_INTERRUPT, *every, native.reflect, NAME, "reflect", Shape.NATIVE),
        Row(Reason.SYSCALL, 0, 0, native.syscall, NAME, "SYSCALL", Shape.NATIVE),
        cpuid_row(vcpu, cpuid, NAME),
        *time_stamp_rows(vcpu, NAME),
        *privileged_rows(vcpu, system, cpuid, NAME),
        *descriptor_table_store_rows(vcpu, NAME),
        *segment_query_rows(vcpu, NAME),
    ]


TECHNIQUE: Final = Technique(
    name=NAME,
    summary="binary translation: kernel code is rewritten, and runs from a cache that the guest cannot see",
    decode=decode_translated,
    rows=rows,
    takes_hypercalls=False,
    boot="guest tables",
    mode="translate",
    translator=Translator,
)
