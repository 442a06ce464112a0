"""Trap-and-emulate by ring deprivileging: an unmodified guest, its kernel one ring below where it thinks it is.

The idea is that of the first monitors (Popek and Goldberg, 1974). Run the guest on the processor itself, with
too little privilege. What is harmless runs at full speed. What would touch the machine traps; the monitor looks
at the instruction, does to a virtual processor what the real one would have done, and goes on behind it.

What happens here:

- The guest kernel runs at CPL 1, its programs at CPL 3. CLI, HLT, MOV to CR3, WRMSR, LGDT and the like raise
  #GP there. The engine reads the bytes at RIP, pv.emulate.decode says which instruction it is (cached by
  address and checked against the bytes), and one row of this table carries it out on `vcpu.virtual`.
- A #GP that no such instruction explains is the guest's own and goes through the guest's IDT: "reflected".
  So does every other exception, each software interrupt, and each #GP of CPL 3 that a load of CS or of another
  segment does not explain. SYSCALL is entered by the guest's own STAR, LSTAR and FMASK. The processor's IDT and
  LSTAR are the monitor's, so each is an exit.
- The guest's page tables are never the processor's. MOV to CR3 selects a shadow of them; a fault that the guest's
  own tables explain is reflected, any other fills the shadow. INVLPG and changes of paging bits empty it.
- The processor's GDT is empty, so each load of a segment that is not null, each far transfer and each IRETQ exits, and
  is done with the guest's own descriptors at the guest's own idea of its ring. That is what hides CPL 1.
- The real interrupt flag is always 1. The guest's is a virtual one which decides when it is interrupted.
- A device's page is in no shadow: an access to it exits, and the instruction is carried out (pv.emulate.mmio).
- CPUID and RDTSC exit too, although harmless: the guest is told of the processor it has, and time repeats.

Popek and Goldberg's theorem asks that every sensitive instruction be privileged. On x86 some are not, and these
are the holes through which an unmodified guest can see, or stumble over, the monitor:

- SGDT, SIDT, SLDT, STR and SMSW show the processor's tables and CR0, not those that the guest loaded.
- PUSHF shows the real IF, always 1. POPF cannot change IF and says nothing: a kernel that restores its
  interrupt flag with POPF keeps the one that it has. Kernels that use CLI and STI alone are well.
- MOV from CS or SS shows the ring beneath, though a trap frame does not; LAR, LSL, VERR and VERW speak of an empty GDT.
- MOV to SS of a null selector does not trap. On this processor it even leads to CPL 0, so the engine stops before
  the first block translated there and sets the ring back.
- What CPUID hides still runs if it is executed: RDRAND, for one.
- Debug registers hold what was written, and no breakpoint fires. CR4.OSFXSR and CR0.EM do not make SSE undefined.
- Call gates, IRETD and code of 32 bits are not offered.

Nothing that traps can close these. Translation rewrites them before they run, hardware virtualization
makes them exit, and paravirtualization asks the guest to leave them alone.
"""

from __future__ import annotations

from typing import Final

from pv.dispatch import ANY_KEY, Row, Shape
from pv.emulate.cpuid import cpuid_row, guest_cpuid
from pv.emulate.mmio_decode import decode_trapped
from pv.emulate.privileged import privileged_rows
from pv.emulate.system_registers import SystemRegisters
from pv.emulate.time_stamp import time_stamp_rows
from pv.engines.base import Vcpu
from pv.exits import Reason
from pv.techniques.base import NativeHandlers, Technique

NAME: Final = "trap"
PAGE_FAULT: Final = 14


def rows(vcpu: Vcpu, native: NativeHandlers, system: SystemRegisters) -> list[Row]:
    """Native rows for what needs no decision, Python rows for every instruction that is emulated."""
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
    ]


TECHNIQUE: Final = Technique(
    name=NAME,
    summary="ring deprivileging: privileged instructions trap and are emulated",
    decode=decode_trapped,
    rows=rows,
    takes_hypercalls=False,
    boot="guest tables",
    mode="trap",
)
