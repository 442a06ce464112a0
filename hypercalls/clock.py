"""clock: the machine's time, by a call, or on a shared page that costs no exit to read."""

from __future__ import annotations

from typing import Final

from hypercalls.call import hypercall
from hypercalls.checks import check_page
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin


@hypercall(0x1020, "clock_read", result="ns since the machine started")
def clock_read(machine: MachineView) -> int:
    """The machine's virtual time."""
    return machine.vcpu.now_ns


@hypercall(0x1021, "clock_page", result="0; the page then holds clock_page")
def clock_page(machine: MachineView, page_gpa: int) -> int:
    """Keep the time of the last exit on a page of the guest's own, under a sequence count."""
    check_page(machine.memory, page_gpa)
    machine.vcpu.set_clock_page(page_gpa)
    return 0


PLUGIN: Final = Plugin("clock", "1", (clock_read, clock_page), ("clock_page",))
