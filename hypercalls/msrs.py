"""Which model-specific registers a paravirtual guest reaches by call, and what may be written to them.

A deprivileged RDMSR or WRMSR is #GP; these are the registers that mean something under paravirtualization. The others,
LSTAR among them, have calls of their own or nothing behind them: an index that is not here is -EINVAL.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL
from typing import Final

from hypercalls.arguments import U32
from hypercalls.call import hypercall
from hypercalls.checks import check_canonical
from hypercalls.machine_view import MachineView
from pv.emulate.msrs import EFER_INDEX, TSC_INDEX
from pv.exits import GuestError

FS_BASE: Final = 0xC000_0100
GS_BASE: Final = 0xC000_0101
KERNEL_GS_BASE: Final = 0xC000_0102


def set_fs_base(machine: MachineView, base: int) -> None:
    machine.vcpu.fs_base = base


def set_gs_base(machine: MachineView, base: int) -> None:
    machine.vcpu.gs_base = base


def set_kernel_gs_base(machine: MachineView, base: int) -> None:
    machine.vcpu.virtual.kernel_gs_base = base


READ: Final[dict[int, Callable[[MachineView], int]]] = {
    TSC_INDEX: lambda machine: machine.vcpu.now_ns,  # one tick a nanosecond, as RDTSC
    EFER_INDEX: lambda machine: machine.vcpu.virtual.efer,
    FS_BASE: lambda machine: machine.vcpu.fs_base,
    GS_BASE: lambda machine: machine.vcpu.gs_base,
    KERNEL_GS_BASE: lambda machine: machine.vcpu.virtual.kernel_gs_base,
}
BASES: Final = {FS_BASE: set_fs_base, GS_BASE: set_gs_base, KERNEL_GS_BASE: set_kernel_gs_base}


@hypercall(0x1046, "msr_read", result="0; 8 bytes are written")
def msr_read(machine: MachineView, index: U32, value_gpa: int) -> int:
    """Read IA32_TIME_STAMP_COUNTER, IA32_EFER, IA32_FS_BASE, IA32_GS_BASE or IA32_KERNEL_GS_BASE."""
    read = READ.get(index)
    if read is None:
        raise GuestError(EINVAL, f"MSR {index:#x} cannot be read by call")
    machine.memory.write_uint(value_gpa, 8, read(machine))
    return 0


@hypercall(0x1047, "msr_write", result="0")
def msr_write(machine: MachineView, index: U32, value: int) -> int:
    """Write IA32_FS_BASE, IA32_GS_BASE or IA32_KERNEL_GS_BASE: canonical addresses."""
    write = BASES.get(index)
    if write is None:
        raise GuestError(EINVAL, f"MSR {index:#x} cannot be written by call")
    check_canonical(value)
    write(machine, value)
    return 0
