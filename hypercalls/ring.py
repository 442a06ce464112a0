"""ring: calls queued in guest memory and completed there, many for one kick, or for none.

The guest writes one line of indices and the monitor the other (abi.py, `ring`). Where the monitor stands is known here
alone; the guest's indices are read once for each pass and judged, and one that is impossible closes the ring.

A kick that found calls starts polling: from then on kick_at is out of reach, and the ring is looked at every POLL_NS
of virtual time, so that a guest that exits or sleeps anyway needs no kick. The first look that finds nothing asks for
the next kick again and ends the polling.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from errno import EAGAIN, EFAULT, EINVAL, ENOSPC
from typing import Final

from guest_sdk import abi
from hypercalls.arguments import U32
from hypercalls.call import UNBATCHABLE, hypercall
from hypercalls.events import check_port, on_close, raise_port
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.clock import Timer
from pv.exits import GuestError
from pv.memory import PAGE_SIZE

NAME: Final = "ring"
RINGS_MOST: Final = 16  # of one machine
POLL_NS: Final = 10_000  # ten exits
LAYOUT: Final = abi.STRUCT_BY_NAME["ring"]
ENTRY_BYTES: Final = sum(abi.STRUCT_BY_NAME[name].size_bytes for name in ("ring_submission", "ring_completion"))
GUEST_LINE: Final = struct.Struct("<III")  # submit_tail, complete_head, notify_at
MONITOR_LINE: Final = struct.Struct("<IIII")  # submit_head, complete_tail, kick_at, broken
WORD: Final = struct.Struct("<I")
INDEX_MASK: Final = (1 << 32) - 1
OUT_OF_REACH: Final = 1 << 31  # ahead of any index that the guest can step to


@dataclass(slots=True)
class Ring:
    """One ring. port: raised by completions, NO_PORT for none. busy: a pass is under way, maybe by a nested run."""

    gpa: int
    entries: int
    port: int
    submit_head: int = 0
    complete_tail: int = 0
    left: int = 0
    judged_tail: int = 0  # how far complete_tail was held against notify_at
    polling: Timer | None = None
    busy: bool = False
    closing: bool = False


def passes(at: int, old: int, new: int) -> bool:
    """Whether the step of an index from `old` to `new` goes past `at`: abi.py's rule for kick_at and notify_at."""
    return (new - at - 1) & INDEX_MASK < (new - old) & INDEX_MASK


def rings_of(machine: MachineView) -> dict[int, Ring]:
    """The machine's open rings by id."""
    found: dict[int, Ring] = machine.state[NAME]
    return found


def find(machine: MachineView, number: int) -> Ring:
    """The ring of that id. Raises GuestError(EINVAL) where there is none."""
    ring = rings_of(machine).get(number)
    if ring is None:
        raise GuestError(EINVAL, f"ring {number} is not open")
    return ring


def ask_for_kick_at(machine: MachineView, ring: Ring, index: int) -> None:
    """Have the guest kick when its submit_tail goes past `index`."""
    WORD.pack_into(machine.memory.view, ring.gpa + LAYOUT.offset("kick_at"), index & INDEX_MASK)


def take(machine: MachineView, number: int, ring: Ring) -> int:
    """Make the calls that wait; raise the port where the guest asked for it. The calls made.

    Raises GuestError(EINVAL) where an index was impossible: the ring is closed then, and says so.
    """
    refused: Collection[int] = machine.state[UNBATCHABLE]
    ring.busy = True
    try:
        taken = machine.vcpu.call_ring(ring, refused)
    except GuestError:
        WORD.pack_into(machine.memory.view, ring.gpa + LAYOUT.offset("broken"), 1)
        drop(machine, number, ring)
        notify(machine, ring)
        raise
    finally:
        ring.busy = False
    if ring.closing:
        drop(machine, number, ring)
    notify_at = WORD.unpack_from(machine.memory.view, ring.gpa + LAYOUT.offset("notify_at"))[0]
    if passes(notify_at, ring.judged_tail, ring.complete_tail):
        notify(machine, ring)
    ring.judged_tail = ring.complete_tail
    return taken


def notify(machine: MachineView, ring: Ring) -> None:
    if ring.port != abi.NO_PORT:
        raise_port(machine, ring.port)


def drop(machine: MachineView, number: int, ring: Ring) -> None:
    """The ring is no more: nothing of it is read or written from here on."""
    if rings_of(machine).get(number) is ring:
        del rings_of(machine)[number]
    ring.closing = True
    if ring.polling is not None:
        ring.polling.cancel()
        ring.polling = None


def look(machine: MachineView, number: int, ring: Ring) -> int:
    """Make the calls that wait, and go on polling while there are some; else ask for the next kick. The calls made."""
    taken = take(machine, number, ring)
    if ring.closing:
        return taken
    if not taken and not ring.left:
        submit_tail, _, _ = GUEST_LINE.unpack_from(machine.memory.view, ring.gpa)
        ask_for_kick_at(machine, ring, submit_tail)
        taken = take(machine, number, ring)  # what came before the guest could see that
    if ring.closing or not (taken or ring.left):
        return taken
    ask_for_kick_at(machine, ring, ring.submit_head + OUT_OF_REACH)
    poll_later(machine, number, ring)
    return taken


def poll_later(machine: MachineView, number: int, ring: Ring) -> None:
    """Look at the ring again in POLL_NS, unless that is to happen already."""
    if ring.polling is None or not ring.polling.pending:
        ring.polling = machine.clock.at(machine.clock.now_ns + POLL_NS, lambda: poll(machine, number, ring))


def poll(machine: MachineView, number: int, ring: Ring) -> None:
    """The polling timer fired."""
    if ring.busy:  # a call of this ring runs the guest, and time passes there
        poll_later(machine, number, ring)
        return
    try:
        look(machine, number, ring)
    except GuestError:
        pass  # the guest reads it from the ring, and its port was raised
    except BaseException:  # a handler's, and leaves run(); the guest still counts on the polling
        poll_later(machine, number, ring)
        raise


@hypercall(0x1061, "ring_open", result="id of a new ring of calls")
def ring_open(machine: MachineView, ring_gpa: int, entries: U32, port: U32) -> int:
    """Share a ring of `entries` calls, a power of two; completions raise `port`, or nothing where it is NO_PORT.

    The ring starts a page: its head, then `entries` ring_submission, then as many ring_completion. All its indices
    are 0: the guest zeroes its own line first. -ENOSPC where this machine has 16 rings.
    """
    if not 0 < entries <= abi.RING_MOST or entries & entries - 1:
        raise GuestError(EINVAL, f"{entries} entries are not a power of two up to {abi.RING_MOST}")
    if ring_gpa % PAGE_SIZE:
        raise GuestError(EINVAL, f"gpa {ring_gpa:#x} is not the start of a page")
    if ring_gpa + LAYOUT.size_bytes + entries * ENTRY_BYTES > machine.memory.size_bytes:
        raise GuestError(EFAULT, f"a ring of {entries} entries at {ring_gpa:#x} is not inside guest memory")
    if port != abi.NO_PORT:
        check_port(machine, port)
    rings = rings_of(machine)
    number = next((free for free in range(RINGS_MOST) if free not in rings), None)
    if number is None:
        raise GuestError(ENOSPC, f"{RINGS_MOST} rings are open")
    rings[number] = Ring(ring_gpa, entries, port)
    MONITOR_LINE.pack_into(machine.memory.view, ring_gpa + LAYOUT.offset("submit_head"), 0, 0, 0, 0)
    return number


@hypercall(0x1062, "ring_kick", batchable=False, result="submissions taken")
def ring_kick(machine: MachineView, ring: U32) -> int:
    """Make the calls that wait in the ring. -EINVAL where the ring is not open, or broken by an impossible index.

    Calls that change control flow get -EINVAL as their result, as in a multicall.
    """
    found = find(machine, ring)
    if found.busy:
        raise GuestError(EAGAIN, f"ring {ring} is being emptied")
    return look(machine, ring, found)


@hypercall(0x1063, "ring_close", result="0")
def ring_close(machine: MachineView, ring: U32) -> int:
    """Close a ring. Calls still queued in it are not made; a call in the ring itself closes it after its pass."""
    found = find(machine, ring)
    found.closing = True
    if not found.busy:
        drop(machine, ring, found)
    return 0


def port_closed(machine: MachineView, port: int) -> None:
    """Rings that raised a port which is closed raise none."""
    for ring in rings_of(machine).values():
        if ring.port == port:
            ring.port = abi.NO_PORT


def set_up(machine: MachineView) -> dict[int, Ring]:
    on_close(machine, port_closed)
    return {}


PLUGIN: Final = Plugin(NAME, "1", (ring_open, ring_kick, ring_close), (NAME,), on_set_up=set_up)
