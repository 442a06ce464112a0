"""The MC146818A by its data sheet, and the CMOS bytes of a PC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.mc146818 import EPOCH_2000_S, NS_PER_S, UPDATE_NS, Mc146818, Register, period_ticks
from tests.pv.devices.fakes import FakeTime, Line

MIB = 1 << 20
PF, AF, UF, IRQF = 0x40, 0x20, 0x10, 0x80
SET, HOURS_24, BINARY = 0x80, 0x02, 0x04
TIME = (0, 2, 4, 6, 7, 8, 9, 0x32)


class Clock:
    """A chip with its time and line; registers by index."""

    def __init__(self, memory_bytes: int = 64 * MIB, epoch_s: int = EPOCH_2000_S) -> None:
        self.time = FakeTime()
        self.line = Line()
        self.rtc = Mc146818(self.line, self.time.read, self.time.at, memory_bytes, epoch_s)

    def __getitem__(self, register: int) -> int:
        self.rtc.write(0, 1, register)
        return self.rtc.read(1, 1)

    def __setitem__(self, register: int, value: int) -> None:
        self.rtc.write(0, 1, register)
        self.rtc.write(1, 1, value)

    def shown(self) -> str:
        return " ".join(f"{self[register]:02x}" for register in TIME)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_time_begins_at_the_epoch_in_bcd_and_follows_virtual_time(clock: Clock) -> None:
    assert clock.shown() == "00 00 00 07 01 01 00 20", "2000-01-01 was a Saturday"
    clock.time.stop_at((59 + 60 * 59 + 3600 * 23) * NS_PER_S)
    assert clock.shown() == "59 59 23 07 01 01 00 20"
    clock.time.stop_at(86_400 * NS_PER_S)
    assert clock.shown() == "00 00 00 01 02 01 00 20"


def test_the_wiring_may_give_another_epoch() -> None:
    assert Clock(epoch_s=0).shown() == "00 00 00 05 01 01 70 19"


def test_binary_and_twelve_hours(clock: Clock) -> None:
    clock.time.stop_at(45_296 * NS_PER_S)  # 12:34:56
    assert (clock[4], clock[2], clock[0]) == (0x12, 0x34, 0x56)
    clock[Register.B] = HOURS_24 | BINARY
    assert (clock[4], clock[2], clock[0]) == (12, 34, 56)
    clock[Register.B] = 0
    assert clock[4] == 0x92


def test_setting_the_time_under_set(clock: Clock) -> None:
    clock[Register.B] = SET | HOURS_24
    for register, value in zip(TIME, (0x58, 0x59, 0x23, 0x01, 0x28, 0x02, 0x24, 0x20), strict=True):
        clock[register] = value
    clock.time.stop_at(10 * NS_PER_S)
    assert clock.shown() == "58 59 23 01 28 02 24 20", "the clock stands while SET is on"
    clock[Register.B] = HOURS_24
    clock.time.stop_at(12 * NS_PER_S)
    assert clock.shown() == "00 00 00 05 29 02 24 20", "and goes on from there: a leap day, a Thursday"


def test_setting_a_register_without_set_takes_effect_at_once(clock: Clock) -> None:
    clock[Register.YEAR] = 0x31
    clock.time.stop_at(NS_PER_S)
    assert clock.shown() == "01 00 00 04 01 01 31 20"


def test_a_date_that_does_not_exist_leaves_the_clock_running(clock: Clock) -> None:
    clock[Register.MONTH] = 0x77
    assert clock[Register.MONTH] == 0x01


def test_update_in_progress_before_the_second_changes(clock: Clock) -> None:
    for ns, up in ((0, False), (NS_PER_S - UPDATE_NS - 1, False), (NS_PER_S - UPDATE_NS, True), (NS_PER_S, False)):
        clock.time.stop_at(ns)
        assert clock[Register.A] == 0x26 | (0x80 if up else 0)
    clock.time.stop_at(2 * NS_PER_S - 1)
    clock[Register.B] = SET | HOURS_24
    assert clock[Register.A] == 0x26


def test_uip_is_not_written_and_c_and_d_are_read_only(clock: Clock) -> None:
    clock[Register.A], clock[Register.C], clock[Register.D] = 0xFF, 0xFF, 0x00
    assert (clock[Register.A], clock[Register.C], clock[Register.D]) == (0x7F, 0, 0x80)


@pytest.mark.parametrize(
    ("memory", "extended_kib", "above_16m", "above_4g"),
    [
        (1 * MIB, 0, 0, 0),
        (16 * MIB, 15 * 1024, 0, 0),
        (64 * MIB, 63 * 1024, 768, 0),
        (4096 * MIB, 0xFFFF, 0xFF00, 0),
        (6144 * MIB, 0xFFFF, 0xFF00, 0x8000),
    ],
)
def test_memory_sizes(memory: int, extended_kib: int, above_16m: int, above_4g: int) -> None:
    clock = Clock(memory)

    def number(first: int, size: int) -> int:
        return int.from_bytes(bytes(clock[first + i] for i in range(size)), "little")

    assert [number(first, 2) for first in (0x15, 0x17, 0x30, 0x34)] == [640, extended_kib, extended_kib, above_16m]
    assert number(0x5B, 3) == above_4g


def test_nvram_keeps_bytes_and_the_nmi_bit_is_no_part_of_the_index(clock: Clock) -> None:
    clock[0x80 | 0x40] = 0x5A
    assert clock[0x40] == 0x5A
    assert clock.rtc.read(0, 1) == 0xFF


@pytest.mark.parametrize(("rate", "hz"), [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)])
def test_periodic_rates(rate: int, hz: int) -> None:
    assert 32_768 // period_ticks(0x20 | rate) == hz


def test_periodic_interrupt_waits_to_be_read(clock: Clock) -> None:
    clock[Register.B] = PF | HOURS_24
    clock.time.stop_at(NS_PER_S)
    assert clock.time.fired == [976_563], "one, since nobody read register C"
    assert (clock.line.level, clock[Register.C]) == (True, IRQF | PF | UF)
    assert (clock.line.level, clock[Register.C]) == (False, 0)
    clock.time.stop_at(NS_PER_S + 1_000_000)
    assert (clock.line.level, clock[Register.C]) == (True, IRQF | PF)


def test_update_ended_interrupt_every_second(clock: Clock) -> None:
    clock[Register.A] = 0x20
    clock[Register.B] = UF | HOURS_24
    for second in (1, 2, 3):
        clock.time.stop_at(second * NS_PER_S - 1)
        assert not clock.line.level
        clock.time.stop_at(second * NS_PER_S)
        assert (clock.line.level, clock[Register.C] & UF) == (True, UF)


def test_alarm_interrupt_at_its_second_and_again_a_day_later(clock: Clock) -> None:
    clock[Register.A] = 0x20
    clock[1], clock[3], clock[5] = 0x05, 0x00, 0x00
    clock[Register.B] = AF | HOURS_24
    clock.time.stop_at(10 * NS_PER_S)
    assert (clock.time.fired, clock[Register.C] & AF) == ([5 * NS_PER_S], AF)
    clock.time.stop_at(86_410 * NS_PER_S)
    assert clock.time.fired == [5 * NS_PER_S, 86_405 * NS_PER_S]


def test_flags_are_set_though_nothing_is_enabled(clock: Clock) -> None:
    clock[1] = 0xFF
    clock[3] = 0xFF
    clock[5] = 0xFF
    clock[Register.C]
    clock.time.stop_at(NS_PER_S)
    assert (clock[Register.C], clock.line.level, clock.time.fired) == (PF | AF | UF, False, [])


def test_set_clears_update_enable_and_stops_its_flags(clock: Clock) -> None:
    clock[Register.A] = 0x20
    clock[Register.B] = SET | UF | HOURS_24
    assert clock[Register.B] == SET | HOURS_24
    clock.time.stop_at(3 * NS_PER_S)
    assert clock[Register.C] == 0


OPERATION = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("index"), st.sampled_from([*range(14), 0x32, 0x7F]), st.just(0)),
    st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, 255)),
    st.tuples(st.just("wait"), st.integers(0, 10**11), st.just(0)),
)


@given(st.lists(OPERATION, max_size=60))
def test_any_accesses_stay_in_range_and_deadlines_lie_ahead(operations: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    for kind, number, value in operations:
        if kind == "read":
            assert 0 <= clock.rtc.read(number, 1) <= 255
        elif kind == "index":
            clock.rtc.write(0, 1, number)
        elif kind == "write":
            clock.rtc.write(number, 1, value)
        else:
            clock.time.stop_at(clock.time.now + number)
        assert clock.time.deadline_ns == -1 or clock.time.deadline_ns > clock.time.now
