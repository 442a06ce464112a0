"""ring: calls queued in guest memory and completed there, many for one kick, or for none.

The guest writes one line of indices and the monitor the other (abi.py, `ring`). Where the monitor stands is known here
alone; the guest's indices are read once for each pass and judged, and one that is impossible closes the ring.

A kick that found calls starts polling: from then on kick_at is out of reach, and the ring is looked at every POLL_NS
of virtual time, so that a guest that exits or sleeps anyway needs no kick. The first look that finds nothing asks for
the next kick again and ends the polling.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from errno import EAGAIN, EFAULT, EINVAL, ENOSPC
from functools import partial
from typing import Final

from guest_sdk import abi
from hypercalls.arguments import U32
from hypercalls.call import hypercall
from hypercalls.events import check_port, on_close, raise_port
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.clock import Clock, Timer
from pv.engines.base import Vcpu
from pv.exits import GuestError
from pv.memory import PAGE_SIZE

NAME: Final = "ring"
RINGS_MOST: Final = 16  # of one machine
POLL_NS: Final = 10_000  # ten exits
LAYOUT: Final = abi.STRUCT_BY_NAME["ring"]
ENTRY_BYTES: Final = sum(abi.STRUCT_BY_NAME[name].size_bytes for name in ("ring_submission", "ring_completion"))
SUBMIT_HEAD, NOTIFY_AT, KICK_AT, BROKEN = map(LAYOUT.offset, ("submit_head", "notify_at", "kick_at", "broken"))
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


@dataclass(slots=True)
class Rings:
    """One machine's rings, and what a kick needs of that machine."""

    machine: MachineView
    vcpu: Vcpu
    clock: Clock
    view: memoryview
    open: dict[int, Ring] = field(default_factory=dict)  # by id

    def find(self, number: int) -> Ring:
        """The ring of that id. Raises GuestError(EINVAL) where there is none."""
        ring = self.open.get(number)
        if ring is None:
            raise GuestError(EINVAL, f"ring {number} is not open")
        return ring


def rings_of(machine: MachineView) -> Rings:
    """The machine's rings, as set-up left them."""
    found: Rings = machine.state[NAME]
    return found


def take(rings: Rings, number: int, ring: Ring) -> int:
    """Make the calls that wait; raise the port where the guest asked for it. The calls made.

    Raises GuestError(EINVAL) where an index was impossible: the ring is closed then, and says so.
    """
    ring.busy = True
    try:
        taken = rings.vcpu.call_ring(ring)
    except GuestError:
        WORD.pack_into(rings.view, ring.gpa + BROKEN, 1)
        drop(rings, number, ring)
        notify(rings, ring)
        raise
    finally:
        ring.busy = False
    if ring.closing:
        drop(rings, number, ring)
    if ring.complete_tail != ring.judged_tail:
        (notify_at,) = WORD.unpack_from(rings.view, ring.gpa + NOTIFY_AT)
        if passes(notify_at, ring.judged_tail, ring.complete_tail):
            notify(rings, ring)
        ring.judged_tail = ring.complete_tail
    return taken


def notify(rings: Rings, ring: Ring) -> None:
    if ring.port != abi.NO_PORT:
        raise_port(rings.machine, ring.port)


def drop(rings: Rings, number: int, ring: Ring) -> None:
    """The ring is no more: nothing of it is read or written from here on."""
    if rings.open.get(number) is ring:
        del rings.open[number]
    ring.closing = True
    if ring.polling is not None:
        ring.polling.cancel()
        ring.polling = None


def look(rings: Rings, number: int, ring: Ring) -> int:
    """Make the calls that wait, and go on polling while there are some; else ask for the next kick. The calls made."""
    taken = take(rings, number, ring)
    if not (taken or ring.left or ring.closing):
        (submit_tail,) = WORD.unpack_from(rings.view, ring.gpa)
        WORD.pack_into(rings.view, ring.gpa + KICK_AT, submit_tail)
        taken = take(rings, number, ring)  # what came before the guest could see that
    if (taken or ring.left) and not ring.closing:
        poll_later(rings, number, ring)
    return taken


def poll_later(rings: Rings, number: int, ring: Ring) -> None:
    """Look at the ring again in POLL_NS, and ask for no kick until then; unless that is so already."""
    if ring.polling is None or not ring.polling.pending:
        WORD.pack_into(rings.view, ring.gpa + KICK_AT, ring.submit_head + OUT_OF_REACH & INDEX_MASK)
        ring.polling = rings.clock.at(rings.clock.now_ns + POLL_NS, lambda: poll(rings, number, ring))


def poll(rings: Rings, number: int, ring: Ring) -> None:
    """The polling timer fired."""
    if ring.busy:  # a call of this ring runs the guest, and time passes there
        poll_later(rings, number, ring)
        return
    try:
        look(rings, number, ring)
    except GuestError:
        pass  # the guest reads it from the ring, and its port was raised
    except BaseException:  # a handler's, and leaves run(); the guest still counts on the polling
        poll_later(rings, number, ring)
        raise


def check_span(machine: MachineView, gpa: int, entries: int) -> None:
    """Raises GuestError: EINVAL for a number of entries or a place that no ring has, EFAULT outside memory."""
    if not 0 < entries <= abi.RING_MOST or entries & entries - 1:
        raise GuestError(EINVAL, f"{entries} entries are not a power of two up to {abi.RING_MOST}")
    if gpa % PAGE_SIZE:
        raise GuestError(EINVAL, f"gpa {gpa:#x} is not the start of a page")
    if gpa + LAYOUT.size_bytes + entries * ENTRY_BYTES > machine.memory.size_bytes:
        raise GuestError(EFAULT, f"a ring of {entries} entries at {gpa:#x} is not inside guest memory")


@hypercall(0x1061, "ring_open", result="id of a new ring of calls")
def ring_open(machine: MachineView, ring_gpa: int, entries: U32, port: U32) -> int:
    """Share a ring of `entries` calls, a power of two; completions raise `port`, or nothing where it is NO_PORT.

    The ring starts a page: its head, then `entries` ring_submission, then as many ring_completion. All its indices
    are 0: the guest zeroes its own line first. -ENOSPC where this machine has 16 rings.
    """
    check_span(machine, ring_gpa, entries)
    if port != abi.NO_PORT:
        check_port(machine, port)
    rings = rings_of(machine)
    number = next((free for free in range(RINGS_MOST) if free not in rings.open), None)
    if number is None:
        raise GuestError(ENOSPC, f"{RINGS_MOST} rings are open")
    rings.open[number] = Ring(ring_gpa, entries, port)
    MONITOR_LINE.pack_into(rings.view, ring_gpa + SUBMIT_HEAD, 0, 0, 0, 0)
    return number


@hypercall(0x1062, "ring_kick", batchable=False, result="submissions taken")
def ring_kick(machine: MachineView, ring: U32) -> int:
    """Make the calls that wait in the ring. -EINVAL where the ring is not open, or broken by an impossible index.

    Calls that change control flow get -EINVAL as their result, as in a multicall.
    """
    rings = rings_of(machine)
    found = rings.find(ring)
    if found.busy:
        raise GuestError(EAGAIN, f"ring {ring} is being emptied")
    return look(rings, ring, found)


@hypercall(0x1063, "ring_close", result="0")
def ring_close(machine: MachineView, ring: U32) -> int:
    """Close a ring. Calls still queued in it are not made; a call in the ring itself closes it after its pass."""
    rings = rings_of(machine)
    found = rings.find(ring)
    found.closing = True
    if not found.busy:
        drop(rings, ring, found)
    return 0


def port_closed(machine: MachineView, port: int) -> None:
    """Rings that raised a port which is closed raise none."""
    for ring in rings_of(machine).open.values():
        if ring.port == port:
            ring.port = abi.NO_PORT


def set_up(machine: MachineView) -> Rings:
    on_close(machine, port_closed)
    return Rings(machine, machine.vcpu, machine.clock, machine.memory.view)


SAVED: Final = ("gpa", "entries", "port", "submit_head", "complete_tail", "left", "judged_tail")


def save(rings: Rings) -> list[list[int]]:
    """[id, the fields of SAVED, when it is to be looked at and that timer's number, or 0 and 0] of each open ring."""
    saved = []
    for number, ring in rings.open.items():
        polling = ring.polling if ring.polling is not None and ring.polling.pending else None
        timer = [polling.deadline_ns, polling.number] if polling else [0, 0]
        saved.append([number, *(getattr(ring, name) for name in SAVED), *timer])
    return saved


def restore(machine: MachineView, saved: list[list[int]]) -> None:
    """Have the same rings open. The clock has forgotten when those that there were are looked at."""
    rings = rings_of(machine)
    rings.open.clear()
    if len(saved) > RINGS_MOST or not all(type(word) is int and word >= 0 for row in saved for word in row):
        raise GuestError(EINVAL, "its rings are none")
    for number, gpa, entries, port, submit_head, complete_tail, left, judged_tail, deadline_ns, order in saved:
        check_span(machine, gpa, entries)
        if number >= RINGS_MOST or port > INDEX_MASK:
            raise GuestError(EINVAL, f"no ring {number} with port {port}")
        ring = rings.open[number] = Ring(gpa, entries, port)
        ring.submit_head, ring.complete_tail = submit_head & INDEX_MASK, complete_tail & INDEX_MASK
        ring.left, ring.judged_tail = left & INDEX_MASK, judged_tail & INDEX_MASK
        if order:
            ring.polling = rings.clock.at(deadline_ns, partial(poll, rings, number, ring))
            ring.polling.number = order


CALLS: Final = (ring_open, ring_kick, ring_close)
PLUGIN: Final = Plugin(NAME, "1", CALLS, (NAME,), on_set_up=set_up, on_save=save, on_restore=restore)
