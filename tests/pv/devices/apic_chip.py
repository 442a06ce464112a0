"""A local APIC under test: registers by number, a clock moved by hand, and INTR."""

from __future__ import annotations

from pv.devices.interrupt_queue import InterruptQueue
from pv.devices.local_apic import LocalApic
from pv.devices.local_apic_registers import Register
from tests.pv.devices.fakes import FakeTime, Line


class Chip:
    """A local APIC, as a processor meets it: registers by number, and INTR."""

    def __init__(self, *, enabled: bool = True, queue: InterruptQueue | None = None) -> None:
        self.time = FakeTime()
        self.intr = Line()
        self.classes: list[int] = []
        self.told: list[tuple[int, ...]] = []
        told = self.told
        self.apic = LocalApic(
            self.intr, self.classes.append, self.time.read, self.time.at, queue, lambda *news: told.append(news)
        )
        if enabled:
            self[Register.SVR] = 0x1FF

    def __getitem__(self, register: int) -> int:
        return self.apic.read(register * 16, 4)

    def __setitem__(self, register: int, value: int) -> None:
        self.apic.write(register * 16, 4, value)

    def errors(self) -> int:
        self[Register.ESR] = 0
        return self[Register.ESR]

    def take(self) -> int:
        return self.apic.acknowledge()
