"""multicall: many hypercalls in one exit.

The entries are copied in once, as a whole: what a call among them does to the array is not seen. Each goes
through the vcpu, so it is checked and counted as if the guest had made it alone, and the time budget is kept
between entries.
"""

from __future__ import annotations

from errno import E2BIG
from typing import Final

from guest_sdk import abi
from hypercalls.call import hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.exits import GuestError


@hypercall(0x1060, "multicall", batchable=False, result="entries done")
def multicall(machine: MachineView, entries_gpa: int, count: int) -> int:
    """Make each call of an array of multicall_entry and write its result back to the entry.

    A call that moves control flow (exit, event_wait, return_from_event, a multicall) gets -EINVAL in its entry.
    """
    if count > abi.MULTICALL_MOST:
        raise GuestError(E2BIG, f"{count} entries where {abi.MULTICALL_MOST} are allowed")
    return machine.vcpu.call_batch(entries_gpa, count)


PLUGIN: Final = Plugin("multicall", "1", (multicall,), ("multicall",))
