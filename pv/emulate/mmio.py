"""How does an instruction reach a device through memory? One exit of reason MMIO carried out.

The engine took the exit because the guest's tables map the operand to a device's window (native/device.c); the row
of that window calls `access`. A plain MOV goes straight to the device. All else goes by the operation that decoding
named (pv.emulate.operations), over a bus that asks each page anew: a device's reply ends the access.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pv.devices.bus import Window
from pv.dispatch import Row
from pv.emulate.bus import GuestBus
from pv.emulate.decode import NO_REGISTER
from pv.engines.base import Vcpu
from pv.exits import NEXT, ExitView, Reason, Reply
from pv.memory import PAGE_SIZE

if TYPE_CHECKING:
    from pv.emulate.mmio_decode import MemoryInstruction


class MmioExit(ExitView):
    """An exit whose instruction pv.emulate.mmio_decode made."""

    insn: MemoryInstruction


def mmio_rows(vcpu: Vcpu, windows: Sequence[Window]) -> list[Row]:
    """One row a window, for both directions. The dispatch table refuses what two owners claim."""
    bus = GuestBus(vcpu, windows)
    return [Row(Reason.MMIO, w.first, w.last, _accessor(bus, w), w.owner, "MMIO") for w in windows]


def _accessor(bus: GuestBus, window: Window) -> Callable[[MmioExit], Reply]:
    get, put, first, read, write = bus.vcpu.get, bus.vcpu.set, window.first, window.read, window.write

    def access(exit: MmioExit) -> Reply:
        insn, gpa = exit.insn, exit.key
        size = insn.operand_bytes
        # At offset 0 stands the second page of an operand that crosses into it: the address of a fault says no more.
        if not insn.plain or not 0 < gpa % PAGE_SIZE <= PAGE_SIZE - size:
            return insn.operation(bus, insn)
        if insn.to_memory:
            register = insn.register
            value = insn.immediate if register == NO_REGISTER else get(register)
            return write(gpa - first, size, value if size == 8 else value & (1 << 8 * size) - 1) or NEXT
        put(insn.register, read(gpa - first, size))
        return NEXT

    return access
