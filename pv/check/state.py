"""Which registers has a guest at its end, as it sees them itself? By name, so that techniques can be held together.

Rings are the guest's: what runs at CPL 1 for a technique is its CPL 0. A stack segment of the null selector has no
privilege of its own that a guest could read by any way but the hole that docs/holes.md lists. The time-stamp counter is
left out: its offset is what the guest wrote less the time at which it did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from pv.devices.pc import Pc
from pv.engines.base import GENERAL_REGISTERS

KERNEL_MOST: Final = 2  # a CPL up to here is the guest's kernel, whatever ring it was given
SEGMENTS: Final = {"es": 0, "ds": 3, "fs": 4, "gs": 5}
RINGED: Final = {"cs": 1, "ss": 2}
VIRTUAL: Final = (
    "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "gdt_base", "gdt_limit", "idt_base", "idt_limit", "ldt_selector",
    "ldt_base", "ldt_limit", "tr_selector", "tr_base", "tr_limit", "star", "lstar", "fmask", "kernel_gs_base",
    "tsc_aux",
)  # fmt: skip
SYSTEM: Final = (
    "dr6", "dr7", "pat", "misc_enable", "mtrr_default_type", "sysenter_cs", "sysenter_esp",
    "sysenter_eip",
)  # fmt: skip


def _cpl(machine: Any) -> int:
    return 0 if machine.vcpu.cpl <= KERNEL_MOST else 3


def _ringed(segment: int) -> Callable[[Any], int]:
    return lambda machine: machine.vcpu.selector(segment) & ~3 | _cpl(machine)


def _selector(segment: int) -> Callable[[Any], int]:
    return lambda machine: int(machine.vcpu.selector(segment))


def _breakpoint(number: int) -> Callable[[Any], int]:
    return lambda machine: int(machine.system.breakpoints[number])


REGISTERS: Final[Mapping[str, Callable[[Any], int]]] = {  # in the order in which a difference is told
    "rip": attrgetter("vcpu.rip"),
    "cpl": _cpl,
    **{name: attrgetter(f"vcpu.{name}") for name in (*GENERAL_REGISTERS, "rflags")},
    **{name: _ringed(segment) for name, segment in RINGED.items()},
    **{name: _selector(segment) for name, segment in SEGMENTS.items()},
    **{name: attrgetter(f"vcpu.{name}") for name in ("fs_base", "gs_base")},
    **{name: attrgetter(f"vcpu.virtual.{name}") for name in VIRTUAL},
    **{f"dr{number}": _breakpoint(number) for number in range(4)},
    **{name: attrgetter(f"system.{name}") for name in SYSTEM},
}


def registers(machine: Any) -> dict[str, int]:
    """Every register by name, of a machine that stands still."""
    return {name: read(machine) for name, read in REGISTERS.items()}


def chips(pc: Pc | None) -> dict[str, Any]:
    """The final state of every chip by the name of its part, nothing for a machine without a board."""
    return {} if pc is None else pc.save()
