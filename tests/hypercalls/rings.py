"""The guest's side of a ring, as the ABI says it is to be written, and calls to put into it."""

from __future__ import annotations

import struct
from errno import EIO

from guest_sdk import abi
from hypercalls import core, events, multicall, ring
from hypercalls.call import hypercall
from hypercalls.events import PENDING
from hypercalls.ring import passes
from pv.clock import NEVER
from pv.engines.base import GuestFault
from pv.exits import GuestError

GPA = 0x8000
PAGE = 0x5000
ENTRIES = 4
PORT = 0
END = 1 << 20
LAYOUT = abi.STRUCT_BY_NAME["ring"]
CALL = struct.Struct("<8Q")
DONE = struct.Struct("<Qq")
ADD, SCRIBBLE, FAIL, FAULT, RAISE = range(0x8001, 0x8006)


@hypercall(ADD, "add")
def add(machine, a: int, b: int) -> int:  # noqa: ARG001 (a handler's signature)
    return a + b


@hypercall(SCRIBBLE, "scribble")
def scribble(machine, gpa: int, size_bytes: int, value: int) -> int:
    machine.memory.write_uint(gpa, size_bytes, value)
    return 0


@hypercall(FAIL, "fail")
def fail(machine) -> int:  # noqa: ARG001
    raise GuestError(EIO)


@hypercall(FAULT, "fault")
def fault(machine) -> int:  # noqa: ARG001
    raise GuestFault(14, 2)


@hypercall(RAISE, "raise")
def raise_error(machine) -> int:  # noqa: ARG001
    raise ZeroDivisionError


class RingGuest:
    """The guest's side of a ring, as abi.py says it is to be written."""

    def __init__(self, machine, gpa=GPA, entries=ENTRIES, port=PORT):
        self.machine, self.gpa, self.entries = machine, gpa, entries
        self.looked_at = 0
        machine.memory.write(gpa, bytes(LAYOUT.size_bytes))
        self.number = machine.ask("ring_open", gpa, entries, port)

    def get(self, field):
        return self.machine.memory.read_uint(self.gpa + LAYOUT.offset(field), 4)

    def set(self, field, value):
        self.machine.memory.write_uint(self.gpa + LAYOUT.offset(field), 4, value % (1 << 32))

    def put(self, number, *arguments, token=0, at=None):
        """Write a call at index `at`, submit_tail where that is left out."""
        at = self.get("submit_tail") if at is None else at
        words = [number, *arguments, *[0] * (6 - len(arguments)), token]
        self.machine.memory.write(self.gpa + LAYOUT.size_bytes + at % self.entries * 64, CALL.pack(*words))

    def submit(self, number, *arguments, token=0):
        self.put(number, *arguments, token=token)
        self.set("submit_tail", self.get("submit_tail") + 1)

    def kick_is_needed(self):
        old, self.looked_at = self.looked_at, self.get("submit_tail")
        return passes(self.get("kick_at"), old, self.looked_at)

    def kick(self):
        return self.machine.ask("ring_kick", self.number)

    def reap(self):
        """All (token, result) that completed."""
        found, first = [], self.gpa + LAYOUT.size_bytes + self.entries * 64
        while (head := self.get("complete_head")) != self.get("complete_tail"):
            found.append(DONE.unpack(self.machine.memory.read(first + head % self.entries * 16, 16)))
            self.set("complete_head", head + 1)
        return found

    def notified(self):
        """Whether the port was raised since this was asked last."""
        pending = self.machine.memory.view[PAGE + PENDING]
        self.machine.memory.view[PAGE + PENDING] = 0
        return bool(pending & 1)


def boot(machine):
    machine.add(core.PLUGIN, events.PLUGIN, multicall.PLUGIN, ring.PLUGIN, add, scribble, fail, fault, raise_error)
    machine.ask("event_page", PAGE, 0)
    assert machine.ask("event_open") == PORT
    return machine


def pass_time(machine, ns):
    machine.vcpu.now_ns += ns
    if machine.clock.deadline_ns != NEVER and machine.clock.deadline_ns <= machine.vcpu.now_ns:
        machine.clock.fire()
