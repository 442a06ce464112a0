"""How are the chips of a plain PC wired? Which ports, which interrupt lines; no behaviour of a chip.

IBM PC/AT Technical Reference, "I/O address map" and "interrupt levels"; 82371SB for ELCR; isa-debug-exit at the
ABI's port. Two lines a chip: its claim on the bus, its line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Final

from guest_sdk.abi import DEBUG_EXIT_PORT
from pv.devices.ata import DISKS_MOST, AtaChannel
from pv.devices.bus import IsaBus, Window
from pv.devices.deadline import At
from pv.devices.debug_exit import DebugExit
from pv.devices.i8254 import I8254
from pv.devices.interrupt_queue import InterruptQueue
from pv.devices.local_apic import Describe, LocalApic, describe_to_nobody
from pv.devices.local_apic_registers import BASE as APIC_PAGE
from pv.devices.local_apic_registers import EXTINT, LINT0, NMI, PAGE_LAST, Register, Svr
from pv.devices.local_interrupts import EXTERNAL
from pv.devices.mc146818 import EPOCH_2000_S, Mc146818
from pv.devices.pic_pair import PicPair
from pv.devices.port_b import PortB
from pv.devices.state import SavedFields, State, StateError, Stateful
from pv.devices.uart16550 import Uart16550
from pv.devices.unassigned import NoPciHost, UnassignedPorts
from pv.disk import Disk
from pv.dispatch import Row

TIMER_IRQ, COM1_IRQ, RTC_IRQ, ATA_IRQ = 0, 4, 8, 14
ONE_BYTE: Final = tuple(bytes([value]) for value in range(256))


class TypedBytes(SavedFields):
    """What waits to be received by COM1. It knows nothing of the chip, so that neither keeps the other alive."""

    wiring_fields: ClassVar = ("_bytes",)  # saved as bytes, which may have any length

    def __init__(self) -> None:
        self._bytes = bytearray()

    def save(self) -> State:
        return {"bytes": bytes(self._bytes)}

    def restore(self, saved: State) -> None:
        typed = saved.get("bytes")
        if not isinstance(typed, bytes):
            raise StateError("TypedBytes.bytes is missing")
        self._bytes = bytearray(typed)

    def append(self, data: bytes) -> None:
        self._bytes += data

    def take(self, most: int) -> bytes:
        """Up to `most` bytes, the oldest first, each once."""
        taken = bytes(self._bytes[:most])
        del self._bytes[:most]
        return taken


class Pc:
    """The board. Everything that it needs of the machine comes in as callables.

    console_write(data) takes what COM1 sends. interrupt(level) is the processor's INTR; it falls and rises again
    when an acknowledge leaves more waiting. task_priority(class) says that CR8 is now `class`. now_ns() is virtual
    time; at(ns, callback) as deadline.At says. epoch_s: what the clock shows at time 0, in seconds since 1970 UTC.
    disks: the first two are on the primary ATA channel, which is not there without any. queue and describe: as
    LocalApic takes them, of a processor with an interrupt queue.
    """

    def __init__(
        self,
        console_write: Callable[[bytes], object],
        interrupt: Callable[[bool], None],
        task_priority: Callable[[int], None],
        now_ns: Callable[[], int],
        at: At,
        memory_bytes: int,
        epoch_s: int = EPOCH_2000_S,
        disks: Sequence[Disk] = (),
        queue: InterruptQueue | None = None,
        describe: Describe = describe_to_nobody,
    ) -> None:
        self._typed = TypedBytes()
        self.unassigned: Final = UnassignedPorts()
        self.apic: Final = LocalApic(interrupt, task_priority, now_ns, at, queue, describe)
        self._enter_virtual_wire_mode()
        self.pic: Final = PicPair(partial(self.apic.lint, LINT0))
        line = self.pic.line
        self.com1: Final = Uart16550(
            lambda byte: console_write(ONE_BYTE[byte]), partial(line, COM1_IRQ), self._typed.take
        )
        self.pit: Final = I8254(partial(line, TIMER_IRQ), now_ns, at)
        self.rtc: Final = Mc146818(partial(line, RTC_IRQ), now_ns, at, memory_bytes, epoch_s)
        port_b, debug_exit, pci = PortB(self.pit.set_gate, self.pit.out, now_ns), DebugExit(), NoPciHost()
        master, slave = self.pic.master, self.pic.slave

        self._bus = bus = IsaBus(self.unassigned.read, self.unassigned.write)
        bus.claim("master 8259", 0x20, 0x21, master.read, master.write)
        bus.claim("8254", 0x40, 0x43, self.pit.read, self.pit.write)
        bus.claim("port B", 0x61, 0x61, port_b.read, port_b.write)
        bus.claim("MC146818", 0x70, 0x71, self.rtc.read, self.rtc.write)
        bus.claim("slave 8259", 0xA0, 0xA1, slave.read, slave.write)
        bus.claim("debug exit", DEBUG_EXIT_PORT, DEBUG_EXIT_PORT, debug_exit.read, debug_exit.write)
        bus.claim("COM1", 0x3F8, 0x3FF, self.com1.read, self.com1.write)
        bus.claim("ELCR", 0x4D0, 0x4D1, self.pic.read_elcr, self.pic.write_elcr)
        ata = None
        if disks:
            ata = AtaChannel(disks[:DISKS_MOST], partial(line, ATA_IRQ))
            bus.claim_fifo("ATA data", 0x1F0, ata.read_data, ata.write_data)
            bus.claim("ATA registers", 0x1F1, 0x1F7, ata.read, ata.write)
            bus.claim("ATA control", 0x3F6, 0x3F6, ata.read_alternate, ata.write_control)
        bus.claim("no PCI host", 0xCF8, 0xCFF, pci.read, pci.write, width=4)

        self.parts: Final[dict[str, Stateful]] = {  # all that has state, or that the bus knows
            "typed": self._typed, "unassigned": self.unassigned, "master": master, "slave": slave, "com1": self.com1,
            "apic": self.apic, "pit": self.pit, "rtc": self.rtc, "port_b": port_b, "debug_exit": debug_exit, "pci": pci,
        }  # fmt: skip
        if ata is not None:
            self.parts["ata"] = ata

    def save(self) -> State:
        """The state of every part, by its name."""
        return {name: part.save() for name, part in self.parts.items()}

    def restore(self, saved: State) -> None:
        """Put every part's state back; no line is driven and the processor is told nothing. Raises StateError."""
        for name, part in self.parts.items():
            state = saved.get(name)
            if not isinstance(state, dict):
                raise StateError(f"the board has no {name}")
            part.restore(state)

    def rows(self) -> tuple[Row, ...]:
        """All ports, for the dispatch table."""
        return self._bus.rows()

    def acknowledge(self) -> int:
        """The vector of the interrupt to take now, or -1 where INTR is low."""
        vector = self.apic.acknowledge()
        return self.pic.acknowledge() if vector == EXTERNAL else vector

    def windows(self) -> tuple[Window, ...]:
        """The pages that devices have in the guest's physical memory."""
        return (Window("local APIC", APIC_PAGE, PAGE_LAST, self.apic.read, self.apic.write),)

    def _enter_virtual_wire_mode(self) -> None:
        """What a PC's firmware leaves: the APIC enabled, LINT0 passing the 8259's INTR through and LINT1 an NMI
        (Intel MultiProcessor Specification 1.4, 3.6.2.2). A guest that wants the 8259s silent masks LINT0."""
        for register, value in (
            (Register.SVR, Svr.ENABLED | 0xFF),
            (Register.LVT_LINT0, EXTINT),
            (Register.LVT_LINT1, NMI),
        ):
            self.apic.write(register * 16, 4, value)

    def console_input(self, data: bytes) -> None:
        """Type `data` on COM1: it waits here until the guest has read what came before."""
        self._typed.append(data)
        self.com1.refill()
