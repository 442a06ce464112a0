"""multicall: many hypercalls in one exit.

The entries are copied in once, as a whole: what a call among them does to the array is not seen. Each goes
through the vcpu, so it is checked and counted as if the guest had made it alone, and the time budget is kept
between entries.
"""

from __future__ import annotations

import struct
from errno import E2BIG, EINVAL
from typing import Final

from guest_sdk import abi
from hypercalls.call import UNBATCHABLE, hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.exits import GuestError

WORDS: Final = 8  # number, six arguments, result
ENTRY: Final = struct.Struct(f"<{WORDS}Q")
MASK: Final = (1 << 64) - 1
REFUSED: Final = -EINVAL & MASK


@hypercall(0x1060, "multicall", batchable=False, result="entries done")
def multicall(machine: MachineView, entries_gpa: int, count: int) -> int:
    """Make each call of an array of multicall_entry and write its result back to the entry.

    A call that moves control flow (exit, event_wait, return_from_event, a multicall) gets -EINVAL in its entry.
    """
    if count > abi.MULTICALL_MOST:
        raise GuestError(E2BIG, f"{count} entries where {abi.MULTICALL_MOST} are allowed")
    memory = machine.memory
    entries = memory.read(entries_gpa, count * ENTRY.size)
    if not entries:
        return 0
    call = machine.vcpu.call
    refused = machine.state[UNBATCHABLE]
    # That read proved the span to be inside memory, so results go straight to their words of it.
    with memory.view[entries_gpa : entries_gpa + len(entries)].cast("Q") as words:
        at = WORDS - 1
        for entry in ENTRY.iter_unpack(entries):
            number = entry[0]
            try:
                words[at] = REFUSED if number in refused else call(number, entry[1:7]) & MASK
            except GuestError as error:  # one entry's answer, as RAX would hold it
                words[at] = -error.errno & MASK
            at += WORDS
    return count


PLUGIN: Final = Plugin("multicall", "1", (multicall,), ("multicall",))
