"""What did a guest's devices see? Every port and MMIO access, in order, recorded by wrapping from outside.

Rows of ports are wrapped as pv.trace does it. A device in memory is wrapped at its window, below the emulated
instruction, so that a read-modify-write is a read and a write. What is recorded beside: the roots of page tables that
the guest loaded where that exits, and when the first timer fired.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pv.devices.bus import Window
from pv.dispatch import DispatchTable, Row, Shape
from pv.emulate.mmio import mmio_rows
from pv.exits import Direction, Reason, Reply
from pv.machine import Machine

ACCESSES_MOST: Final = 4_000_000  # kept of one run, some 500 MB; the comparison ends there
CR3_WRITE: Final = 3 * 2 + Direction.WRITE


class Access(NamedTuple):
    """One access that a device answered. place: port or gpa. value: what was moved, -1 where a reply took its place."""

    device: str
    memory: bool
    place: int
    write: bool
    size: int
    value: int
    rip: int
    number: int

    def same(self, other: Access, *, value: bool = True) -> bool:
        """Whether both are one access of one instruction, the value moved included."""
        return self[:5] == other[:5] and self.rip == other.rip and (not value or self.value == other.value)


class Recorder:
    """Put around a machine's devices before it runs. on_access is called with each access, as it was answered."""

    def __init__(self, machine: Machine, on_access: Callable[[Access], None] | None = None) -> None:
        self.accesses: Final[list[Access]] = []
        self.roots: Final[set[int]] = set()
        self.first_tick: int | None = None  # accesses before the first timer fired
        self._vcpu: Final = machine.vcpu
        self._on_access = on_access
        machine.vcpu.bind(DispatchTable(self._wrap(machine)))
        fire = machine.clock.fire
        machine.vcpu.set_timer_source(lambda: self._tick(fire))

    def clear(self) -> None:
        """Forget what was recorded: the machine is about to run another guest."""
        self.accesses.clear()
        self.roots.clear()
        self.first_tick = None

    def _tick(self, fire: Callable[[], None]) -> None:
        if self.first_tick is None:
            self.first_tick = len(self.accesses)
        fire()

    def _wrap(self, machine: Machine) -> list[Row]:
        windows = [] if machine.pc is None else [self._watched(window) for window in machine.pc.windows()]
        seen = {window.first for window in windows}
        rows = []
        for row in machine.table:
            if row.reason is Reason.IO_INSTRUCTION and row.shape in (Shape.READ, Shape.WRITE):
                rows.append(dataclasses.replace(row, handler=self._port(row)))
            elif row.reason is Reason.CR_ACCESS and row.first <= CR3_WRITE <= row.last and row.shape is Shape.EXIT:
                rows.append(dataclasses.replace(row, handler=self._root(row.handler)))
            elif row.reason is not Reason.MMIO or row.shape is not Shape.EXIT or row.first not in seen:
                rows.append(row)
            else:
                rows += mmio_rows(self._vcpu, [one for one in windows if one.first == row.first])
        return rows

    def _note(self, device: str, memory: bool, place: int, write: bool, size: int, value: Any) -> None:
        if len(self.accesses) >= ACCESSES_MOST:
            return
        number = value if type(value) is int else -1
        access = Access(device, memory, place, write, size, number, self._vcpu.exit.rip, len(self.accesses))
        self.accesses.append(access)
        if self._on_access is not None:
            self._on_access(access)

    def _port(self, row: Row) -> Callable[..., Any]:
        handler, owner, vcpu, note = row.handler, row.owner, self._vcpu, self._note
        if row.shape is Shape.READ:

            def read(offset: int, size: int) -> Any:
                value = handler(offset, size)
                note(owner, False, vcpu.exit.key, False, size, value)
                return value

            return read

        def write(offset: int, size: int, value: int) -> Reply | None:
            note(owner, False, vcpu.exit.key, True, size, value)
            reply: Reply | None = handler(offset, size, value)
            return reply

        return write

    def _watched(self, window: Window) -> Window:
        def read(offset: int, size: int) -> int:
            value = window.read(offset, size)
            self._note(window.owner, True, window.first + offset, False, size, value)
            return value

        def write(offset: int, size: int, value: int) -> Reply | None:
            self._note(window.owner, True, window.first + offset, True, size, value)
            return window.write(offset, size, value)

        return dataclasses.replace(window, read=read, write=write)

    def _root(self, handler: Callable[[Any], Reply]) -> Callable[[Any], Reply]:
        def write(exit: Any) -> Reply:
            self.roots.add(self._vcpu.get(exit.insn.register))
            return handler(exit)

        return write
