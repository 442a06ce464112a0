"""events: the paravirtual interrupt controller, 1024 ports that share a page with the guest.

The page holds a pending and a mask bit for each port and the guest's interrupt flag. Which ports are open
is known here alone: the page is the guest's to scribble on, and every byte of it is read once for each decision.
A port that is open, pending and not masked asks for the upcall, which the engine delivers when the flag allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import EINVAL, ENOSPC
from typing import Final

from guest_sdk import abi
from hypercalls.arguments import U32
from hypercalls.call import hypercall
from hypercalls.checks import check_canonical, check_page
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.exits import WAIT, GuestError, Reply
from pv.memory import GuestMemory

UPCALL_VECTOR: Final = 0x20
NONE_PENDING: Final = -1
PAGE: Final = abi.STRUCT_BY_NAME["event_page"]
UPCALL_PENDING: Final = PAGE.offset("upcall_pending")
PENDING: Final = PAGE.offset("pending")
MASK: Final = PAGE.offset("mask")
BITMAP_BYTES: Final = abi.EVENT_PORTS // 8
ALL_PORTS: Final = (1 << abi.EVENT_PORTS) - 1
ON_CLOSE: Final = "events.on_close"  # key of machine.state: who is told of a port that is closed


@dataclass(slots=True)
class EventPorts:
    """One machine's ports. gpa: of the shared page, inside memory since it was registered; None before that."""

    memory: GuestMemory
    gpa: int | None = None
    opened: int = 0  # a bit for each port

    def page(self) -> int:
        """The page's gpa. Raises GuestError(EINVAL) while there is none."""
        if self.gpa is None:
            raise GuestError(EINVAL, "no event page yet")
        return self.gpa

    def check_open(self, port: int) -> int:
        """The page's gpa. Raises GuestError(EINVAL) unless `port` is open."""
        gpa = self.page()
        if port >= abi.EVENT_PORTS or not self.opened >> port & 1:
            raise GuestError(EINVAL, f"port {port} is not open")
        return gpa

    def write_bit(self, bitmap: int, port: int, on: bool) -> None:
        """Set or clear the port's bit of the bitmap at offset `bitmap` of the page."""
        at, bit = self.page() + bitmap + (port >> 3), 1 << (port & 7)
        byte = self.memory.view[at]
        self.memory.view[at] = byte | bit if on else byte & ~bit

    def is_masked(self, port: int) -> bool:
        return bool(self.memory.view[self.page() + MASK + (port >> 3)] >> (port & 7) & 1)

    def ready(self) -> int:
        """A bit for each port that is open, pending and not masked."""
        at, view = self.page(), self.memory.view
        pending = int.from_bytes(view[at + PENDING : at + PENDING + BITMAP_BYTES], "little")
        masked = int.from_bytes(view[at + MASK : at + MASK + BITMAP_BYTES], "little")
        return pending & ~masked & self.opened

    def acknowledge(self) -> int:
        """The engine asks at a moment when the guest can take an upcall: its vector, or -1.

        One upcall answers all that is pending, so asking again gives none until something new is.
        """
        at = self.page() + UPCALL_PENDING
        if not self.memory.view[at] or not self.ready():
            return NONE_PENDING
        self.memory.view[at] = 0
        return UPCALL_VECTOR


def set_up(machine: MachineView) -> EventPorts:
    return EventPorts(machine.memory)


def save(ports: EventPorts) -> tuple[int | None, bytes]:
    """Where the page is, and a bit for each open port, little-endian."""
    return ports.gpa, ports.opened.to_bytes(BITMAP_BYTES, "little")


def restore(machine: MachineView, saved: tuple[int | None, bytes]) -> None:
    """Put both back; the engine has the page itself."""
    gpa, opened = saved
    ports = ports_of(machine)
    if not isinstance(gpa, int | None) or not isinstance(opened, bytes) or len(opened) != BITMAP_BYTES:
        raise GuestError(EINVAL, "its ports are none")
    if gpa is not None:
        check_page(machine.memory, gpa)
    ports.gpa, ports.opened = gpa, int.from_bytes(opened, "little")
    machine.vcpu.set_interrupt_source(no_upcall if gpa is None else ports.acknowledge)


def no_upcall() -> int:
    """The interrupt source of a guest without an event page."""
    return NONE_PENDING


def ports_of(machine: MachineView) -> EventPorts:
    """The machine's ports, as the plugin's set-up left them."""
    found: EventPorts = machine.state["events"]
    return found


def check_port(machine: MachineView, port: int) -> None:
    """Raises GuestError(EINVAL) unless `port` is open."""
    ports: EventPorts | None = machine.state.get("events")
    if ports is None:
        raise GuestError(EINVAL, "this machine has no events")
    ports.check_open(port)


def on_close(machine: MachineView, tell: Callable[[MachineView, int], None]) -> None:
    """Have `tell(machine, port)` called whenever a port is closed: for who raises ports that are not its own."""
    machine.state.setdefault(ON_CLOSE, []).append(tell)


def request_upcall(machine: MachineView, gpa: int) -> None:
    """Mark an upcall as due and tell the engine, which waits for the guest's flag by itself.

    It is told whatever the flag says now: a guest may set the flag without an exit, and a return from an event may.
    """
    machine.memory.view[gpa + UPCALL_PENDING] = 1
    machine.vcpu.request_interrupt()


def raise_port(machine: MachineView, port: int) -> bool:
    """A device's event: the port is pending. False where the guest has no event page or has not opened the port."""
    ports = ports_of(machine)
    if ports.gpa is None or not 0 <= port < abi.EVENT_PORTS or not ports.opened >> port & 1:
        return False
    ports.write_bit(PENDING, port, True)
    if not ports.is_masked(port):
        request_upcall(machine, ports.gpa)
    return True


@hypercall(0x1050, "event_page", result="0; the page then holds event_page")
def event_page(machine: MachineView, page_gpa: int, upcall_rip: int) -> int:
    """Share a page for events; upcalls enter at upcall_rip. Ports stay open where an earlier page is replaced."""
    check_page(machine.memory, page_gpa)
    check_canonical(upcall_rip)
    machine.vcpu.set_event_page(page_gpa, upcall_rip)
    ports = ports_of(machine)
    ports.gpa = page_gpa
    machine.vcpu.set_interrupt_source(ports.acknowledge)
    return 0


@hypercall(0x1051, "event_open", result="a new port")
def event_open(machine: MachineView) -> int:
    """Open the lowest free port, neither pending nor masked. -ENOSPC where all are open."""
    ports = ports_of(machine)
    ports.page()
    free = ALL_PORTS & ~ports.opened
    if not free:
        raise GuestError(ENOSPC, "every port is open")
    port = (free & -free).bit_length() - 1
    forget(ports, port)
    ports.opened |= 1 << port
    return port


@hypercall(0x1052, "event_close", result="0")
def event_close(machine: MachineView, port: U32) -> int:
    """Close a port; what was pending on it is forgotten."""
    ports = ports_of(machine)
    ports.check_open(port)
    ports.opened &= ~(1 << port)
    forget(ports, port)
    for tell in machine.state.get(ON_CLOSE, ()):
        tell(machine, port)
    return 0


@hypercall(0x1053, "event_send", result="0")
def event_send(machine: MachineView, port: U32) -> int:
    """Make a port pending, as a device would."""
    ports_of(machine).check_open(port)
    raise_port(machine, port)
    return 0


@hypercall(0x1054, "event_mask", result="0")
def event_mask(machine: MachineView, port: U32, masked: U32) -> int:
    """Mask a port (1) or unmask it (0). Unmasking a pending one brings the upcall."""
    if masked > 1:
        raise GuestError(EINVAL, f"masked {masked} is neither 0 nor 1")
    ports = ports_of(machine)
    gpa = ports.check_open(port)
    ports.write_bit(MASK, port, bool(masked))
    if ports.ready() >> port & 1:
        request_upcall(machine, gpa)
    return 0


@hypercall(0x1055, "event_wait", batchable=False, result="0 once an unmasked event is pending")
def event_wait(machine: MachineView) -> int | Reply:
    """Sleep until an event: at once where one is pending."""
    if ports_of(machine).ready():
        return 0
    machine.vcpu.withdraw_interrupt()  # a guest that polls with upcalls disabled took its events without one
    machine.vcpu.rax = 0  # a reply leaves RAX as it is
    return WAIT


@hypercall(0x1056, "event_deliver", result="0; delivers what became pending while the guest had upcalls disabled")
def event_deliver(machine: MachineView) -> int:
    """Ask for the upcall that is due: for a guest that enabled upcalls and found one pending."""
    ports = ports_of(machine)
    if ports.ready():
        request_upcall(machine, ports.page())
    return 0


def forget(ports: EventPorts, port: int) -> None:
    """Clear what the page says of a port."""
    ports.write_bit(PENDING, port, False)
    ports.write_bit(MASK, port, False)


PLUGIN: Final = Plugin(
    "events",
    "1",
    (event_page, event_open, event_close, event_send, event_mask, event_wait, event_deliver),
    ("events",),
    on_set_up=set_up,
    on_save=save,
    on_restore=restore,
)
