"""cpu: where the guest's kernel is entered, on which stack, its segment bases, and the way back from an event."""

from __future__ import annotations

import struct
from errno import EINVAL
from typing import Annotated, Final

from guest_sdk import abi
from hypercalls.arguments import U32, RecordsIn
from hypercalls.call import hypercall
from hypercalls.checks import check_canonical
from hypercalls.machine_view import MachineView
from hypercalls.msrs import msr_read, msr_write
from hypercalls.plugin import Plugin
from pv.exits import AGAIN, NEXT, Exit, GuestError, Reason, Reply

VECTORS: Final = 256
CPUID_REGISTERS: Final = struct.Struct("<IIII")  # EAX EBX ECX EDX
TRAP_FLAGS: Final = 0b111  # bits 1-0 privilege, bit 2 disables upcalls on entry

Traps = Annotated[list[tuple[int, ...]], RecordsIn(abi.STRUCT_BY_NAME["trap_entry"], VECTORS)]


@hypercall(0x1040, "set_trap_table", result="0")
def set_trap_table(machine: MachineView, entries: Traps) -> int:
    """Say where exceptions and INT n enter the guest. A rip of 0 removes an entry.

    Every entry is judged before the first is set: a table with one bad entry changes nothing.
    """
    for vector, flags, rip in entries:
        if vector >= VECTORS or flags & ~TRAP_FLAGS:
            raise GuestError(EINVAL, f"trap entry of vector {vector} with flags {flags:#x}")
        check_canonical(rip)
    set_trap = machine.vcpu.set_trap
    for vector, flags, rip in entries:
        set_trap(vector, rip, flags)
    return 0


@hypercall(0x1041, "set_kernel_stack", result="0")
def set_kernel_stack(machine: MachineView, rsp: int) -> int:
    """The stack that an event from CPL 3 starts on: a switch of tasks."""
    check_canonical(rsp)
    machine.vcpu.set_kernel_stack(rsp)
    return 0


@hypercall(0x1042, "set_syscall_entry", result="0")
def set_syscall_entry(machine: MachineView, rip: int) -> int:
    """Where SYSCALL enters the guest's kernel."""
    check_canonical(rip)
    machine.vcpu.set_syscall_entry(rip)
    return 0


@hypercall(0x1043, "set_segment_base", result="0")
def set_segment_base(machine: MachineView, which: U32, base: int) -> int:
    """Set a segment's base. which: SEGMENT_BASES."""
    check_canonical(base)
    match which:
        case 0:
            machine.vcpu.fs_base = base
        case 1:
            machine.vcpu.gs_base = base
        case 2:
            machine.vcpu.virtual.kernel_gs_base = base
        case _:
            raise GuestError(EINVAL, f"segment base {which}")
    return 0


@hypercall(0x1044, "return_from_event", batchable=False, result="does not return: pops rax rip cs rflags rsp ss")
def return_from_event(machine: MachineView) -> Reply:
    """Go back to what an event interrupted. Its RAX, where this call's number is, lies on top of the event's frame."""
    machine.vcpu.interrupt_return()
    return AGAIN


@hypercall(0x1045, "cpuid", result="0; the registers are written")
def cpuid(machine: MachineView, leaf: U32, subleaf: U32, registers_gpa: int) -> int:
    """What CPUID would leave in EAX, EBX, ECX and EDX: the row that answers the instruction answers here."""
    row = machine.table.find(Reason.CPUID, leaf)
    if row is None:
        raise GuestError(EINVAL, f"nobody answers CPUID leaf {leaf:#x}")
    vcpu = machine.vcpu
    kept = vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx
    try:
        vcpu.rcx = subleaf
        reply = row.handler(Exit(Reason.CPUID, leaf))
        registers = vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx
    finally:
        vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx = kept
    if reply is not NEXT:
        raise GuestError(EINVAL, f"CPUID leaf {leaf:#x} faults")
    machine.memory.write(registers_gpa, CPUID_REGISTERS.pack(*registers))
    return 0


CALLS: Final = (
    *(set_trap_table, set_kernel_stack, set_syscall_entry, set_segment_base, return_from_event),
    *(cpuid, msr_read, msr_write),
)
PLUGIN: Final = Plugin("cpu", "1", CALLS, ("cpu",))
