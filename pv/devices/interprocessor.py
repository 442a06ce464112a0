"""Whom does an interprocessor interrupt reach? The ICR's command, seen by the one processor that there is.

Intel SDM vol. 3, 11.6.1 and 11.6.2, table 11-3.
"""

from __future__ import annotations

from typing import Final

from pv.devices.local_apic_registers import BROADCAST, DFR_FLAT, FIXED, LOWEST_PRIORITY, PROCESSOR_ID, Icr, Lvt

ANY_CLUSTER: Final = 0xF
WITH_SELF: Final = (Icr.TO_SELF, Icr.TO_ALL)


def send(low: int, high: int, ldr: int, dfr: int) -> tuple[bool, bool]:
    """(whether the command sends an interrupt with a vector, whether this processor gets it).

    INIT, start-up, SMI and NMI have no effect here; a shorthand with lowest priority is invalid and sends nothing.
    """
    shorthand, delivery = low & Icr.SHORTHAND, low & Lvt.DELIVERY
    if delivery not in (FIXED, LOWEST_PRIORITY) or (shorthand and delivery != FIXED):
        return False, False
    if shorthand:
        return True, shorthand in WITH_SELF
    return True, is_destination(high >> 24, ldr, dfr, logical=bool(low & Icr.LOGICAL))


def is_destination(wanted: int, ldr: int, dfr: int, *, logical: bool) -> bool:
    """Whether the destination field `wanted` names this processor: by its identity, or by LDR in the way of DFR."""
    if not logical:
        return wanted in (PROCESSOR_ID, BROADCAST)
    mine = ldr >> 24
    if dfr >> 28 == DFR_FLAT:
        return bool(wanted & mine)
    same_cluster = wanted >> 4 in (mine >> 4, ANY_CLUSTER)
    return same_cluster and bool(wanted & mine & 0xF)
