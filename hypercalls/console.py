"""console: text out."""

from __future__ import annotations

from errno import ENOSPC
from typing import Final

from hypercalls.arguments import GuestBytes
from hypercalls.call import hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.exits import GuestError


@hypercall(0x1010, "console_write", result="bytes written")
def console_write(machine: MachineView, data: GuestBytes) -> int:
    """Write bytes to the machine's console. Fewer than all are written where it becomes full; then -ENOSPC."""
    written = machine.console.write(data)
    if data and not written:
        raise GuestError(ENOSPC, "the console is full")
    return written


PLUGIN: Final = Plugin("console", "1", (console_write,), ("console",))
