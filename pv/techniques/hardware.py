"""Hardware-assisted virtualization: an unmodified guest at its own CPL 0, on a processor that knows what a guest is.

Popek and Goldberg's monitor needs every sensitive instruction to trap. Here the processor is asked instead: in guest
mode (Intel: VMX non-root operation; AMD: what VMRUN enters) a control block says what leaves the guest, and all else
the guest does itself, with the processor's registers. The story of one exit:

- Before: the guest's state is loaded. CR0, CR3, CR4, EFER, GDTR, IDTR, TR, segment caches and flags are the guest's
  own. Kernel code runs at CPL 0 and sees it; PUSHF, SGDT and MOV from CS tell the truth. Of trap's holes
  those of the engine are left (RDRAND, VEX), and breakpoints: debug registers are values that nothing compares with.
- Exit: the processor meets something that the control block names (pv.techniques.controls). It stops before the
  instruction, notes why (an exit code) and what else it knows (a gpa, an error code), and the monitor's state is
  back. On silicon that is a save and a load of both states by microcode, some thousand cycles; on this engine a hook
  is called.
- Answer: a row of this table, which reads and writes guest state through the same `vcpu` as under trap.
  `vcpu.virtual` is the processor's own state here, not a belief that is kept for the guest.
- Entry: the guest goes on, with an event injected where the answer was one. An interrupt for a guest that cannot take
  one asks for an exit when it can: the interrupt window.

Memory has two stages. The guest's page tables are the processor's, and lead to guest-physical addresses; nested
tables of the monitor's lead on to memory (AMD: nested paging; Intel: EPT). So page-table edits, INVLPG, loads of CR3
and page faults of the guest's making cost no exit at all, where shadow paging takes several. What nested tables do
not map exits: the page of a device, whose instruction is then carried out (pv.emulate.mmio, as under trap), or a
hole, which ends the guest.

What the processor does by itself is counted as `events`, not as exits: delivery through the guest's IDT, SYSCALL.
RDTSC does not exit either: the processor adds an offset. That, and checks which the engine beneath leaves out, are
its microcode here (native/microcode.c).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from pv.dispatch import ANY_KEY, Row, Shape
from pv.emulate.control_registers import control_register_rows
from pv.emulate.cpuid import cpuid_row, guest_cpuid
from pv.emulate.debug_registers import debug_register_rows
from pv.emulate.descriptor_tables import descriptor_table_rows
from pv.emulate.mmio_decode import decode_in_guest_mode
from pv.emulate.msrs import msr_rows
from pv.emulate.processor import no_effect, processor_rows
from pv.emulate.system_registers import SystemRegisters
from pv.emulate.time_stamp import time_stamp_rows
from pv.engines.base import Vcpu
from pv.exits import Reason
from pv.techniques.base import NativeHandlers, Technique
from pv.techniques.controls import APIC_VIRTUALIZED, DEFAULT

NAME: Final = "hardware"
APICV_NAME: Final = "hardware-apicv"


def rows(vcpu: Vcpu, native: NativeHandlers, system: SystemRegisters, owner: str) -> list[Row]:
    """An answer for every control that there is; which of them ever come is the control block's to say."""
    cpuid = guest_cpuid(vcpu, hypervisor=False, local_apic=True)
    return [
        Row(Reason.EXCEPTION_NMI, ANY_KEY, ANY_KEY, native.reflect, owner, "reflect", Shape.NATIVE),
        cpuid_row(vcpu, cpuid, owner),
        *time_stamp_rows(vcpu, owner),
        *control_register_rows(vcpu, cpuid, owner),
        *debug_register_rows(vcpu, system, owner),
        *msr_rows(vcpu, system, cpuid, owner),
        *descriptor_table_rows(vcpu, owner),
        *processor_rows(vcpu, owner),
        Row(Reason.PAUSE, 0, 0, no_effect, owner, "PAUSE"),
    ]


TECHNIQUE: Final = Technique(
    name=NAME,
    summary="guest mode and nested paging: a control block says what exits",
    decode=decode_in_guest_mode,
    rows=partial(rows, owner=NAME),
    takes_hypercalls=False,
    boot="guest tables",
    mode="hardware",
    controls=DEFAULT,
)
APICV: Final = replace(
    TECHNIQUE,
    name=APICV_NAME,
    summary="hardware, and the processor carries out accesses to the local APIC where it can",
    rows=partial(rows, owner=APICV_NAME),
    controls=APIC_VIRTUALIZED,
)
