"""The count against one that is stepped tick by tick."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.devices.local_apic_timer import DIVISORS, HZ, LocalApicTimer
from tests.pv.devices.fakes import FakeTime


class Stepped:
    """SDM vol. 3, 11.5.4, a tick of the divided clock at a time."""

    def __init__(self, initial: int, *, periodic: bool) -> None:
        self.initial = self.count = initial
        self.periodic = periodic
        self.expiries = 0

    def tick(self) -> None:
        if not self.count:
            return
        self.count -= 1
        if not self.count:
            self.expiries += 1
            if self.periodic:
                self.count = self.initial


class Owner:
    """What asks to be told of each expiry."""

    def __init__(self, *, periodic: bool = False, divide: int = 0b1011) -> None:
        self.time = FakeTime()
        self.timer = LocalApicTimer(self.time.read, self.time.at)
        self.timer.set_divide(divide)
        self.timer.set_periodic(periodic)
        self.expired = 0

    def start(self, count: int) -> None:
        self.timer.start(count)
        self.timer.schedule(self.on_expiry)

    def on_expiry(self) -> None:
        self.timer.reached()
        self.expired += 1
        self.timer.schedule(self.on_expiry)


def test_one_tick_is_a_nanosecond() -> None:
    assert HZ == 1_000_000_000


@given(
    initial=st.integers(0, 40), periodic=st.booleans(), divide=st.sampled_from(sorted(DIVISORS)),
    steps=st.lists(st.integers(0, 30), max_size=12),
)  # fmt: skip
def test_count_and_expiries_are_those_of_a_stepped_counter(
    initial: int, periodic: bool, divide: int, steps: list[int]
) -> None:
    owner, model = Owner(periodic=periodic, divide=divide), Stepped(initial, periodic=periodic)
    owner.start(initial)
    for step in steps:
        owner.time.stop_at(owner.time.now + step * DIVISORS[divide])
        for _ in range(step):
            model.tick()
        assert owner.timer.current() == model.count
        assert owner.expired == model.expiries
    assert owner.timer.initial == initial


@given(st.sampled_from(sorted(DIVISORS)), st.sampled_from(sorted(DIVISORS)), st.integers(1, 99))
def test_what_is_left_is_counted_on_when_the_divider_changes(before: int, after: int, counted: int) -> None:
    owner = Owner(divide=before)
    owner.start(100)
    owner.time.stop_at(counted * DIVISORS[before])
    owner.timer.set_divide(after)
    owner.timer.schedule(owner.on_expiry)
    assert owner.timer.current() == 100 - counted
    end = owner.time.now + (100 - counted) * DIVISORS[after]
    owner.time.stop_at(end - 1)
    assert owner.expired == 0
    owner.time.stop_at(end)
    assert (owner.expired, owner.timer.current()) == (1, 0)


def test_reserved_bits_of_the_divider_do_not_exist() -> None:
    owner = Owner(divide=0xFFFF_FFFF)
    assert owner.timer.divide == 0b1011


def test_a_one_shot_that_is_over_does_not_begin_again_as_periodic() -> None:
    owner = Owner()
    owner.start(10)
    owner.time.stop_at(20)
    owner.timer.set_periodic(True)
    owner.timer.schedule(owner.on_expiry)
    owner.time.stop_at(100)
    assert (owner.expired, owner.timer.current()) == (1, 0)


def test_a_running_one_becomes_periodic_at_its_end() -> None:
    owner = Owner()
    owner.start(10)
    owner.time.stop_at(4)
    owner.timer.set_periodic(True)
    owner.timer.schedule(owner.on_expiry)
    owner.time.stop_at(35)
    assert (owner.expired, owner.timer.current()) == (3, 5)


@pytest.mark.parametrize("periodic", [False, True])
def test_what_is_not_wanted_is_not_asked_for(periodic: bool) -> None:
    owner = Owner(periodic=periodic)
    owner.start(10)
    owner.timer.schedule(None)
    assert owner.time.deadline_ns == -1
    owner.time.stop_at(25)
    owner.timer.schedule(owner.on_expiry)
    assert owner.time.deadline_ns == (30 if periodic else -1)
    assert owner.expired == 0


def test_a_count_of_zero_stops_it() -> None:
    owner = Owner(periodic=True)
    owner.start(10)
    owner.start(0)
    assert (owner.time.deadline_ns, owner.timer.current()) == (-1, 0)
