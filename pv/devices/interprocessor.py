"""Whom does an interprocessor interrupt reach? The ICR's command, seen by the one processor that there is.

Intel SDM vol. 3, 11.6.1 and 11.6.2, table 11-3; 11.12.9 and 11.12.10 for the destinations of x2APIC mode.
"""

from __future__ import annotations

from typing import Final

from pv.devices.local_apic_registers import (
    BROADCAST,
    DFR_FLAT,
    EXTENDED_BROADCAST,
    EXTENDED_LDR,
    FIXED,
    LOWEST_PRIORITY,
    PROCESSOR_ID,
    Icr,
    Lvt,
)

ANY_CLUSTER: Final = 0xF
WITH_SELF: Final = (Icr.TO_SELF, Icr.TO_ALL)


def send(command: int, ldr: int, dfr: int, *, extended: bool = False) -> tuple[bool, bool]:
    """(whether the command sends an interrupt with a vector, whether this processor gets it).

    command: all 64 bits of the ICR. extended: x2APIC mode, in which neither LDR nor DFR is looked at. INIT, start-up,
    SMI and NMI have no effect here; a shorthand with lowest priority is invalid and sends nothing.
    """
    shorthand, delivery = command & Icr.SHORTHAND, command & Lvt.DELIVERY
    if delivery not in (FIXED, LOWEST_PRIORITY) or (shorthand and delivery != FIXED):
        return False, False
    if shorthand:
        return True, shorthand in WITH_SELF
    logical, wanted = bool(command & Icr.LOGICAL), command >> 32
    if extended:
        return True, is_extended_destination(wanted, logical=logical)
    return True, is_destination(wanted >> 24, ldr, dfr, logical=logical)


def is_destination(wanted: int, ldr: int, dfr: int, *, logical: bool) -> bool:
    """Whether the destination field `wanted` names this processor: by its identity, or by LDR in the way of DFR."""
    if not logical:
        return wanted in (PROCESSOR_ID, BROADCAST)
    mine = ldr >> 24
    if dfr >> 28 == DFR_FLAT:
        return bool(wanted & mine)
    same_cluster = wanted >> 4 in (mine >> 4, ANY_CLUSTER)
    return same_cluster and bool(wanted & mine & 0xF)


def is_extended_destination(wanted: int, *, logical: bool) -> bool:
    """The same in x2APIC mode: 32 bits of identity, or a cluster's number and a bit for each of its sixteen."""
    if wanted == EXTENDED_BROADCAST:
        return True
    if not logical:
        return wanted == PROCESSOR_ID
    return wanted >> 16 == EXTENDED_LDR >> 16 and bool(wanted & EXTENDED_LDR & 0xFFFF)
