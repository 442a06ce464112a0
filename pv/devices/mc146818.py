"""What time is it, and how much memory is there? The MC146818A clock of a PC with its CMOS bytes.

Motorola MC146818A data sheet; PC/AT Technical Reference for the CMOS bytes beyond 0x0d, with those that later BIOSes
added for the century and for memory above 64 MiB. Time is virtual time plus a fixed epoch, so that runs repeat;
the divider always runs. Nothing ticks: flags are worked out when they are asked for, deadlines when enabled.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import ClassVar, Final

from pv.devices.deadline import At, Deadline
from pv.devices.rtc_calendar import Calendar, Time, fields_of, seconds_of
from pv.devices.state import SavedFields

NS_PER_S: Final = 1_000_000_000
CRYSTAL_HZ: Final = 32_768
EPOCH_2000_S: Final = 946_684_800  # 2000-01-01T00:00:00Z
UPDATE_NS: Final = (244 + 1_984) * 1_000  # UIP is up for t_BUC before, and t_UC during, the update (figure 14)
CMOS_BYTES: Final = 128  # bit 7 of the index port masks NMI
KIB: Final = 1 << 10
MIB: Final = 1 << 20
INDEX, DATA = 0, 1


class Register(enum.IntEnum):
    SECONDS = 0x00
    SECONDS_ALARM = 0x01
    MINUTES = 0x02
    MINUTES_ALARM = 0x03
    HOURS = 0x04
    HOURS_ALARM = 0x05
    WEEKDAY = 0x06
    DAY = 0x07
    MONTH = 0x08
    YEAR = 0x09
    A = 0x0A
    B = 0x0B
    C = 0x0C
    D = 0x0D
    BASE_KIB = 0x15  # two bytes, as the next
    EXTENDED_KIB = 0x17
    EXTENDED_KIB_AGAIN = 0x30
    CENTURY = 0x32
    ABOVE_16M_IN_64K = 0x34
    ABOVE_4G_IN_64K = 0x5B  # three bytes


TIME_REGISTERS: Final = (
    Register.SECONDS, Register.MINUTES, Register.HOURS, Register.WEEKDAY,
    Register.DAY, Register.MONTH, Register.YEAR, Register.CENTURY,
)  # fmt: skip  # in the order of rtc_calendar.Time
READ_ONLY: Final = {Register.C, Register.D}

A_UPDATE_IN_PROGRESS: Final = 1 << 7
A_RATES: Final = 16  # RS3-0
A_AT_RESET: Final = 0x26  # 32.768 kHz divider, 1.024 kHz rate
D_VALID_RAM: Final = 1 << 7


class B:
    """Register B. Bits 4-6 enable what bits 4-6 of register C flag."""

    HOURS_24 = 1 << 1
    BINARY = 1 << 2
    UPDATE = 1 << 4
    ALARM = 1 << 5
    PERIODIC = 1 << 6
    SET = 1 << 7


class C:
    UPDATE = 1 << 4
    ALARM = 1 << 5
    PERIODIC = 1 << 6
    IRQ = 1 << 7


def period_ticks(register_a: int) -> int:
    """The periodic rate in cycles of the crystal (table 5); 0 for none."""
    rate = register_a % A_RATES
    return 0 if rate == 0 else 1 << (rate - 1 if rate > 2 else rate + 6)


def memory_bytes_registers(memory_bytes: int) -> dict[int, int]:
    """What a BIOS leaves in CMOS about memory: register to byte."""
    extended = min(max(memory_bytes - MIB, 0) // KIB, 0xFFFF)
    above_16m = min(max(min(memory_bytes, 4 << 30) - 16 * MIB, 0) // (64 * KIB), 0xFFFF)
    above_4g = min(max(memory_bytes - (4 << 30), 0) // (64 * KIB), 0xFFFFFF)
    sizes = (
        (Register.BASE_KIB, 640, 2),
        (Register.EXTENDED_KIB, extended, 2),
        (Register.EXTENDED_KIB_AGAIN, extended, 2),
        (Register.ABOVE_16M_IN_64K, above_16m, 2),
        (Register.ABOVE_4G_IN_64K, above_4g, 3),
    )
    return {first + i: byte for first, value, size in sizes for i, byte in enumerate(value.to_bytes(size, "little"))}


class Mc146818(SavedFields):
    """The chip. line(level) is IRQ, high while an enabled flag of register C is set."""

    saved_fields: ClassVar = ("_deadline", "_offset_ns", "_cmos", "_b", "_flags", "_seen_ns", "_index")
    saved_ranges: ClassVar = {
        **dict.fromkeys(("_b", "_flags"), range(0x100)),
        "_index": range(CMOS_BYTES),
        **dict.fromkeys(("_offset_ns", "_seen_ns"), range(1 << 63)),
    }
    wiring_fields: ClassVar = ("_line", "_now_ns")
    deadline_callbacks: ClassVar = {"_deadline": "_on_deadline"}

    def __init__(
        self,
        line: Callable[[bool], None],
        now_ns: Callable[[], int],
        at: At,
        memory_bytes: int,
        epoch_s: int = EPOCH_2000_S,
    ) -> None:
        self._line = line
        self._now_ns = now_ns
        self._deadline = Deadline(at)
        self._offset_ns = epoch_s * NS_PER_S  # from virtual time to the time shown
        self._cmos = bytearray(CMOS_BYTES)
        for register, byte in memory_bytes_registers(memory_bytes).items():
            self._cmos[register] = byte
        self._cmos[Register.A], self._cmos[Register.D] = A_AT_RESET, D_VALID_RAM
        self._b = B.HOURS_24
        self._flags = 0
        self._seen_ns = now_ns()  # flags are worked out up to here
        self._index = 0

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        """The register chosen; the index port does not read."""
        if offset == INDEX:
            return 0xFF
        match self._index:
            case Register.A:
                return self._cmos[Register.A] | (A_UPDATE_IN_PROGRESS if self._updating() else 0)
            case Register.B:
                return self._b
            case Register.C:
                return self._read_c()
            case register if register in TIME_REGISTERS and not self._b & B.SET:
                return self._shown()[TIME_REGISTERS.index(Register(register))]
            case register:
                return self._cmos[register]

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        if offset == INDEX:
            self._index = value % CMOS_BYTES
            return
        register = self._index
        if register in READ_ONLY:
            return
        self._collect()
        if register == Register.B:
            self._write_b(value)
        elif register in TIME_REGISTERS:
            self._write_time(register, value)
        else:
            self._cmos[register] = value & ~A_UPDATE_IN_PROGRESS if register == Register.A else value
        self._update()

    @property
    def _calendar(self) -> Calendar:
        return Calendar(binary=bool(self._b & B.BINARY), hours_24=bool(self._b & B.HOURS_24))

    def _wall_s(self, ns: int) -> int:
        return (ns + self._offset_ns) // NS_PER_S

    def _updating(self) -> bool:
        into_second = (self._now_ns() + self._offset_ns) % NS_PER_S
        return not self._b & B.SET and into_second >= NS_PER_S - UPDATE_NS

    def _shown(self) -> Time:
        """The time registers as they read now."""
        return self._calendar.encode(fields_of(self._wall_s(self._now_ns())))

    def _write_time(self, register: int, value: int) -> None:
        """Set one register: kept aside while SET is on, else the clock goes on from there at once."""
        if not self._b & B.SET:
            self._hold()
        self._cmos[register] = value
        if not self._b & B.SET:
            self._release()

    def _hold(self) -> None:
        for register, value in zip(TIME_REGISTERS, self._shown(), strict=True):
            self._cmos[register] = value

    def _release(self) -> None:
        """Let the clock run from the registers. A date that does not exist leaves it running as it was."""
        written = self._calendar.decode(Time._make(self._cmos[register] for register in TIME_REGISTERS))
        seconds = None if written is None else seconds_of(written)
        if seconds is not None:
            self._offset_ns += (seconds - self._wall_s(self._now_ns())) * NS_PER_S

    def _write_b(self, value: int) -> None:
        before = self._b
        if value & B.SET and not before & B.SET:
            self._hold()
        self._b = value & ~B.UPDATE if value & B.SET else value  # SET clears UIE
        if before & B.SET and not value & B.SET:
            self._release()

    def _read_c(self) -> int:
        self._collect()
        flags = self._flags | (C.IRQ if self._asserted() else 0)
        self._flags = 0
        self._update()
        return flags

    def _asserted(self) -> bool:
        return bool(self._flags & self._b & (C.UPDATE | C.ALARM | C.PERIODIC))

    def _collect(self) -> None:
        """Set the flags of all that happened since they were last worked out."""
        before, now = self._seen_ns, self._now_ns()
        self._seen_ns = now
        period = period_ticks(self._cmos[Register.A])
        if period and ticks_at(now) // period != ticks_at(before) // period:
            self._flags |= C.PERIODIC
        old_s, new_s = self._wall_s(before), self._wall_s(now)
        if self._b & B.SET or old_s == new_s:
            return
        self._flags |= C.UPDATE
        alarm_s = self._next_alarm_s(old_s)
        if alarm_s is not None and alarm_s <= new_s:
            self._flags |= C.ALARM

    def _next_alarm_s(self, after_s: int) -> int | None:
        alarm = (self._cmos[r] for r in (Register.HOURS_ALARM, Register.MINUTES_ALARM, Register.SECONDS_ALARM))
        return self._calendar.next_alarm_s(after_s, *alarm)

    def _update(self) -> None:
        """Drive the line; ask for the next moment at which an enabled flag that is not yet set will be."""
        self._line(self._asserted())
        wanted = [ns for flag, ns in self._events() if self._b & flag and not self._flags & flag]
        self._deadline.set(min(wanted, default=None), self._on_deadline)

    def _events(self) -> list[tuple[int, int]]:
        now = self._now_ns()
        events: list[tuple[int, int]] = []
        period = period_ticks(self._cmos[Register.A])
        if period:
            events.append((C.PERIODIC, ns_of_tick((ticks_at(now) // period + 1) * period)))
        if not self._b & B.SET:
            wall_s = self._wall_s(now)
            events.append((C.UPDATE, (wall_s + 1) * NS_PER_S - self._offset_ns))
            alarm_s = self._next_alarm_s(wall_s) if self._b & B.ALARM else None
            if alarm_s is not None:
                events.append((C.ALARM, alarm_s * NS_PER_S - self._offset_ns))
        return events

    def _on_deadline(self) -> None:
        self._deadline.reached()
        self._collect()
        self._update()


def ticks_at(ns: int) -> int:
    """Cycles of the crystal since time 0."""
    return ns * CRYSTAL_HZ // NS_PER_S


def ns_of_tick(tick: int) -> int:
    """The first ns at which ticks_at gives `tick`."""
    return -(-tick * NS_PER_S // CRYSTAL_HZ)
