"""memory: address spaces whose page tables the monitor keeps, changed by call, singly or in batches.

A space's id is its root in vcpu.tables: 0 is the boot space. How many spaces and tables one machine may have
is the pool's to say: past it, ENOMEM. The engine's tables judge every address, length and flag (Tables in
pv.engines.base), once.
"""

from __future__ import annotations

from errno import EINVAL
from typing import Annotated, Final

from guest_sdk import abi
from hypercalls.arguments import U32, RecordsIn
from hypercalls.call import hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.exits import GuestError

BOOT_SPACE: Final = 0

Updates = Annotated[list[tuple[int, ...]], RecordsIn(abi.STRUCT_BY_NAME["page_update"], abi.UPDATES_MOST)]


@hypercall(0x1030, "memory_size", result="bytes of guest memory")
def memory_size(machine: MachineView) -> int:
    """How much guest-physical memory there is, from gpa 0 on."""
    return machine.memory.size_bytes


@hypercall(0x1031, "map", result="pages mapped")
def map_pages(machine: MachineView, gva: int, gpa: int, pages: int, flags: U32) -> int:
    """Map pages of guest memory in the running space. flags: MAP_FLAGS, MAP_PRESENT among them."""
    tables = machine.vcpu.tables
    return tables.map(tables.active, gva, gpa, pages, flags)


@hypercall(0x1032, "unmap", result="pages unmapped")
def unmap_pages(machine: MachineView, gva: int, pages: int) -> int:
    """Unmap pages in the running space."""
    tables = machine.vcpu.tables
    return tables.unmap(tables.active, gva, pages)


@hypercall(0x1033, "space_create", result="id of a new address space that shares the boot mappings")
def space_create(machine: MachineView) -> int:
    """Make an address space."""
    return machine.vcpu.tables.create()


@hypercall(0x1034, "space_switch", result="0")
def space_switch(machine: MachineView, space: U32) -> int:
    """Run in another address space from here on."""
    machine.vcpu.tables.activate(space)
    return 0


@hypercall(0x1035, "space_destroy", result="0")
def space_destroy(machine: MachineView, space: U32) -> int:
    """Give an address space back. Neither the boot space nor the running one can be."""
    tables = machine.vcpu.tables
    if space in (BOOT_SPACE, tables.active):
        raise GuestError(EINVAL, f"space {space} is the boot space or is running")
    tables.destroy(space)
    return 0


@hypercall(0x1036, "page_update", result="entries done")
def page_update(machine: MachineView, updates: Updates) -> int:
    """Map and unmap pages in any spaces, entry by entry. Flags of 0 unmap.

    Stops at the first bad entry: its errno where no entry was done, else how many were.
    """
    tables = machine.vcpu.tables
    done = 0
    try:
        for space, flags, gva, gpa, pages in updates:
            if flags:
                tables.map(space, gva, gpa, pages, flags)
            else:
                tables.unmap(space, gva, pages)
            done += 1
    except GuestError:
        if not done:
            raise
    return done


PLUGIN: Final = Plugin(
    "memory",
    "1",
    (memory_size, map_pages, unmap_pages, space_create, space_switch, space_destroy, page_update),
    ("memory",),
)
