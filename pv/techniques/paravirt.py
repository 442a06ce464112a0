"""Paravirtualization: a guest that knows, and asks by VMCALL instead of executing what would trap.

It stands on the same ground as pv.techniques.trap: kernel at CPL 1, programs at CPL 3, page tables that
are not the guest's. What is missing is the emulator. A privileged instruction is answered with #GP, an
exception goes to the table of traps that the guest registered, SYSCALL to the entry it named; page tables,
kernel stack and interrupts are hypercalls or shared pages (hypercalls/, one file a family). So what differs
between the two techniques is the interface, and a comparison measures nothing else.

Kept from the plain processor are the ways to find out: CPUID, with the hypervisor bit set, RDTSC, and RDMSR and
WRMSR for the MSRs of a personality, which register as rows of their own. Each other MSR is #GP(0).
"""

from __future__ import annotations

from typing import Final

from pv.dispatch import ANY_KEY, Row, Shape
from pv.emulate.cpuid import cpuid_row, guest_cpuid
from pv.emulate.decode import decode_paravirt
from pv.emulate.msrs import no_such_msr
from pv.emulate.system_registers import SystemRegisters
from pv.emulate.time_stamp import time_stamp_rows
from pv.engines.base import Vcpu
from pv.exits import Reason
from pv.techniques.base import NativeHandlers, Technique

NAME: Final = "paravirt"


def rows(vcpu: Vcpu, native: NativeHandlers, _system: SystemRegisters) -> list[Row]:
    """The rows that every paravirtual guest has; its hypercalls are added by whoever offers them."""
    every = (ANY_KEY, ANY_KEY)
    return [
        Row(Reason.EXCEPTION_NMI, *every, native.trap_table, NAME, "trap table", Shape.NATIVE),
        Row(Reason.SOFTWARE_INTERRUPT, *every, native.trap_table, NAME, "trap table", Shape.NATIVE),
        Row(Reason.SYSCALL, 0, 0, native.syscall_entry, NAME, "SYSCALL", Shape.NATIVE),
        Row(Reason.MSR_READ, *every, no_such_msr, NAME, "RDMSR"),
        Row(Reason.MSR_WRITE, *every, no_such_msr, NAME, "WRMSR"),
        cpuid_row(vcpu, guest_cpuid(vcpu, hypervisor=True), NAME),
        *time_stamp_rows(vcpu, NAME),
    ]


TECHNIQUE: Final = Technique(
    name=NAME,
    summary="the guest asks by hypercall; no instruction is emulated",
    decode=decode_paravirt,
    rows=rows,
    takes_hypercalls=True,
    boot="monitor tables",
    mode="paravirt",
)
