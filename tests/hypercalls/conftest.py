"""A machine for handlers under test: real memory and a real table, on a vcpu that records what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from errno import E2BIG, EFAULT, EINVAL
from typing import Any

import pytest

from pv.clock import Clock
from pv.disk import Disk
from pv.dispatch import DispatchTable, Row
from pv.engines.base import RingState
from pv.engines.batch import call_batch, call_ring
from pv.exits import GuestError, Reason
from pv.memory import PAGE_SIZE, GuestMemory

LOW_END, HIGH_FIRST, PAGES_MOST = 1 << 47, (1 << 64) - (1 << 47), 1 << 20


def check_range(gva: int, pages: int) -> None:
    """What the engine's tables refuse of a linear range."""
    if pages > PAGES_MOST:
        raise GuestError(E2BIG)
    half_end = LOW_END if gva < LOW_END else 1 << 64
    if not pages or gva % PAGE_SIZE or LOW_END <= gva < HIGH_FIRST or gva + pages * PAGE_SIZE > half_end:
        raise GuestError(EINVAL)


class RecordingTables:
    """vcpu.tables of a machine of 1 MiB: judges as the engine's do and records what passes. Raises where a gva is in
    `refused`."""

    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told
        self.active = 0
        self.refused: dict[int, int] = {}

    def create(self) -> int:
        self.told.append(("create",))
        return 7

    def destroy(self, root: int) -> None:
        self.told.append(("destroy", root))

    def activate(self, root: int) -> None:
        self.told.append(("activate", root))
        self.active = root

    def map(self, root: int, gva: int, gpa: int, pages: int, flags: int) -> int:
        check_range(gva, pages)
        if flags & ~15 or not flags & 1 or gpa % PAGE_SIZE:
            raise GuestError(EINVAL)
        if gpa + pages * PAGE_SIZE > 1 << 20:
            raise GuestError(EFAULT)
        if gva in self.refused:
            raise GuestError(self.refused[gva])
        self.told.append(("map", root, gva, gpa, pages, flags))
        return pages

    def unmap(self, root: int, gva: int, pages: int) -> int:
        check_range(gva, pages)
        self.told.append(("unmap", root, gva, pages))
        return pages


@dataclass
class RecordingVirtual:
    kernel_gs_base: int = 0


class RecordingVcpu:
    """Notes ("verb", *arguments) in `told`; `call` goes through the table as the engine's does."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine
        self.told: list[tuple[Any, ...]] = []
        self.tables = RecordingTables(self.told)
        self.virtual = RecordingVirtual()
        self.rax = self.rbx = self.rcx = self.rdx = 0xDEAD
        self.fs_base = self.gs_base = 0
        self.now_ns = 0
        self.deadline_ns = -1
        self.acknowledge: Callable[[], int] = lambda: -1

    def __getattr__(self, verb: str) -> Callable[..., None]:
        return lambda *arguments: self.told.append((verb, *arguments))

    def set_interrupt_source(self, acknowledge: Callable[[], int]) -> None:
        self.acknowledge = acknowledge

    def set_deadline(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns

    def write_code(self, gpa: int, data: bytes) -> None:
        self.machine.memory.write(gpa, data)

    def call(self, number: int, arguments: tuple[int, ...]) -> int:
        row = self.machine.table.find(Reason.VMCALL, number)
        if row is None:
            return -38
        if not row.batchable:
            return -22
        registers = arguments[: len(row.argument_bits)]
        if any(value >> bits for value, bits in zip(registers, row.argument_bits, strict=True)):
            return -22
        try:
            result: int = row.handler(*registers)
        except GuestError as error:
            return -error.errno
        return result

    def call_batch(self, entries_gpa: int, count: int) -> int:
        return call_batch(self.machine.memory, self.call, entries_gpa, count)

    def call_ring(self, ring: RingState) -> int:
        return call_ring(self.machine.memory, self.call, ring)


class RecordingConsole:
    def __init__(self) -> None:
        self.text = b""

    def write(self, text: str | bytes) -> int:
        data = text.encode() if isinstance(text, str) else text
        self.text += data
        return len(data)


@dataclass
class FakeMachine:
    """What a handler sees of a machine, with verbs for tests: add, ask, rows."""

    memory: GuestMemory = field(default_factory=lambda: GuestMemory(1 << 20))
    console: RecordingConsole = field(default_factory=RecordingConsole)
    state: dict[str, Any] = field(default_factory=dict)
    call_numbers: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)
    table: DispatchTable = field(default_factory=DispatchTable)
    disks: tuple[Disk, ...] = ()

    def __post_init__(self) -> None:
        self.vcpu = RecordingVcpu(self)
        self.clock = Clock(self.vcpu)

    def call(self, name: str | int, *arguments: Any, returns: Any = int, timeout: float | None = None) -> Any:
        raise AssertionError(f"{name} is no function of a machine without a guest: {arguments} {returns} {timeout}")

    def add(self, *sources: Any) -> FakeMachine:
        """Register plugins and hypercalls as a machine does: set_up, then rows."""
        for source in sources:
            if hasattr(source, "set_up"):
                self.state[source.name] = source.set_up(self)
            for row in source.rows(self):
                self.table.add(row)
                if row.reason is Reason.VMCALL:
                    self.call_numbers[row.name] = row.first
        return self

    def row(self, name: str) -> Row:
        row = self.table.find(Reason.VMCALL, self.call_numbers[name])
        assert row is not None
        return row

    def ask(self, name: str, *registers: int) -> Any:
        """What the handler answers to these registers; GuestError leaves."""
        return self.row(name).handler(*registers)

    def errno(self, name: str, *registers: int) -> int:
        """The errno with which the handler refuses these registers."""
        with pytest.raises(GuestError) as caught:
            self.ask(name, *registers)
        return caught.value.errno


@pytest.fixture
def machine() -> Iterator[FakeMachine]:
    made = FakeMachine()
    yield made
    made.memory.close()


@pytest.fixture(scope="session")
def make_machine() -> Callable[[], FakeMachine]:
    """For hypothesis, where one example needs one machine."""
    return FakeMachine
