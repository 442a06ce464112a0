"""The 8254 in virtual time: bytes, latches, deadlines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.i8254 import HZ, I8254, NS_PER_S, clocks_at, ns_of
from tests.pv.devices.fakes import FakeTime, Line

LOAD = 1  # the clock that loads a count written at time 0


class Timer:
    """A chip with its clock and line."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.line = Line()
        self.pit = I8254(self.line, self.time.read, self.time.at)

    def start(self, control: int, count: int, channel: int = 0) -> None:
        self.pit.write(3, 1, control | channel << 6)
        self.pit.write(channel, 1, count % 256)
        self.pit.write(channel, 1, count // 256)

    def count(self, channel: int = 0) -> int:
        low = self.pit.read(channel, 1)
        return low | self.pit.read(channel, 1) << 8


@pytest.fixture
def timer() -> Timer:
    return Timer()


@given(st.integers(0, 1 << 40))
def test_ns_of_is_the_first_moment_of_a_clock(clock: int) -> None:
    assert clocks_at(ns_of(clock)) == clock
    assert clock == 0 or clocks_at(ns_of(clock) - 1) == clock - 1


def test_one_second_is_so_many_clocks() -> None:
    assert clocks_at(NS_PER_S) == HZ


def test_mode_2_fires_at_each_period_without_drift(timer: Timer) -> None:
    timer.start(0x34, 11932)
    timer.time.stop_at(NS_PER_S)
    assert timer.time.fired == [ns_of(LOAD + 11932 * n) for n in range(1, HZ // 11932 + 1)]
    assert timer.line.rises == 1 + len(timer.time.fired), "and one for the level it starts with"


def test_mode_0_fires_once_exactly(timer: Timer) -> None:
    timer.start(0x30, 1000)
    assert not timer.line.level
    timer.time.stop_at(NS_PER_S)
    assert timer.time.fired == [ns_of(LOAD + 1000)]
    assert timer.line.level


def test_mode_3_fires_once_a_period(timer: Timer) -> None:
    timer.start(0x36, 0)
    timer.time.stop_at(ns_of(LOAD + 0x10000 * 3))
    assert timer.time.fired == [ns_of(LOAD + 0x10000 * n) for n in (1, 2, 3)]


def test_a_control_word_stops_the_deadlines(timer: Timer) -> None:
    timer.start(0x34, 1000)
    timer.pit.write(3, 1, 0x34)
    assert timer.time.deadline_ns == -1


def test_reprogramming_for_ever_holds_one_deadline(timer: Timer) -> None:
    for count in range(2, 500):
        timer.start(0x30, count)
    timer.time.stop_at(NS_PER_S)
    assert timer.time.fired == [ns_of(LOAD + 499)]


def test_a_period_of_one_clock_is_no_period(timer: Timer) -> None:
    timer.start(0x34, 1)
    assert timer.time.deadline_ns == -1


def test_the_first_control_word_of_a_periodic_mode_is_no_edge(timer: Timer) -> None:
    rises = timer.line.rises
    timer.pit.write(3, 1, 0x34)
    assert timer.line.rises == rises


def test_a_late_engine_misses_periods_but_not_the_grid(timer: Timer) -> None:
    timer.start(0x34, 1000)
    timer.time.now = ns_of(3500)
    timer.time.clock.fire()
    assert timer.time.deadline_ns == ns_of(LOAD + 4000)


def test_latched_count_is_held_while_time_goes_on(timer: Timer) -> None:
    timer.start(0x34, 0x8000)
    timer.time.stop_at(ns_of(LOAD + 0x123))
    timer.pit.write(3, 1, 0x00)
    timer.time.stop_at(ns_of(LOAD + 0x456))
    timer.pit.write(3, 1, 0x00)  # ignored: the first is not yet read
    assert timer.count() == 0x8000 - 0x123
    assert timer.count() == 0x8000 - 0x456


def test_read_back_latches_status_and_count_of_the_chosen_counters(timer: Timer) -> None:
    timer.start(0x34, 1000, channel=0)
    timer.start(0x34, 2000, channel=1)
    timer.pit.write(3, 1, 0b1110_0010)  # status of counter 0
    assert timer.pit.read(0, 1) == 0xF4, "not loaded yet"
    timer.time.stop_at(ns_of(LOAD))
    timer.pit.write(3, 1, 0b1100_0110)  # both, of counters 0 and 1
    assert (timer.pit.read(0, 1), timer.count(0)) == (0xB4, 1000)
    assert (timer.pit.read(1, 1), timer.count(1)) == (0xB4, 2000)
    timer.pit.write(3, 1, 0b1110_0010)  # status alone
    assert timer.pit.read(0, 1) == 0xB4
    timer.time.stop_at(ns_of(LOAD + 7))
    assert timer.count(0) == 993


def test_channel_2_counts_under_its_gate_and_shows_its_output(timer: Timer) -> None:
    timer.start(0x30, 1000, channel=2)
    timer.time.stop_at(ns_of(5000))
    assert (timer.pit.out(), timer.count(2)) == (False, 1000)
    timer.pit.set_gate(True)
    timer.time.stop_at(ns_of(5999))
    assert (timer.pit.out(), timer.count(2)) == (False, 1)
    timer.time.stop_at(ns_of(6000))
    assert timer.pit.out()
    assert timer.time.fired == [], "nobody waits for channel 2"


def test_the_control_word_does_not_read(timer: Timer) -> None:
    assert timer.pit.read(3, 1) == 0xFF


OPERATION = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 255)),
    st.tuples(st.just("gate"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 1_000_000), st.just(0)),
)


@given(st.lists(OPERATION, max_size=60))
def test_any_accesses_stay_in_range_and_deadlines_lie_ahead(operations: list[tuple[str, int, int]]) -> None:
    timer = Timer()
    for kind, number, value in operations:
        if kind == "read":
            assert 0 <= timer.pit.read(number, 1) <= 255
        elif kind == "write":
            timer.pit.write(number, 1, value)
        elif kind == "gate":
            timer.pit.set_gate(bool(number))
        else:
            timer.time.stop_at(timer.time.now + number)
        assert timer.pit.out() in (True, False)
        assert timer.time.deadline_ns == -1 or timer.time.deadline_ns > timer.time.now
