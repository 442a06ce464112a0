"""console: text out."""

from __future__ import annotations

from typing import Final

from hypercalls.arguments import GuestBytes
from hypercalls.call import hypercall
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin


@hypercall(0x1010, "console_write", result="bytes written")
def console_write(machine: MachineView, data: GuestBytes) -> int:
    """Write bytes to the machine's console."""
    return machine.console.write(data)


PLUGIN: Final = Plugin("console", "1", (console_write,), ("console",))
