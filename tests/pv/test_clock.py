"""Timers in virtual time: their order, and the engine's deadline always the earliest of them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv.clock import MOMENTS, NEVER, Clock


class Source:
    def __init__(self) -> None:
        self.now_ns = 0
        self.deadline_ns = NEVER

    def set_deadline(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock(source: Source) -> Clock:
    return Clock(source)


def noter(log: list[str], name: str) -> Callable[[], None]:
    return lambda: log.append(name)


def test_equal_deadlines_fire_in_order_of_registration(source: Source, clock: Clock) -> None:
    log: list[str] = []
    clock.at(20, noter(log, "late"))
    clock.at(10, noter(log, "first"))
    clock.at(10, noter(log, "second"))
    assert source.deadline_ns == 10
    source.now_ns = 20
    clock.fire()
    assert log == ["first", "second", "late"]
    assert source.deadline_ns == NEVER


def test_what_a_callback_registers_waits_for_the_next_call(source: Source, clock: Clock) -> None:
    log: list[str] = []
    clock.at(5, lambda: clock.at(5, noter(log, "again")))
    source.now_ns = 9
    clock.fire()
    assert log == []
    assert source.deadline_ns == 5
    clock.fire()
    assert log == ["again"]


def test_cancelling_moves_the_deadline(source: Source, clock: Clock) -> None:
    log: list[str] = []
    early, late = clock.at(1, noter(log, "early")), clock.at(2, noter(log, "late"))
    early.cancel()
    early.cancel()
    assert (early.pending, late.pending, source.deadline_ns) == (False, True, 2)
    clock.cancel(late)
    source.now_ns = 3
    clock.fire()
    assert log == []
    assert source.deadline_ns == NEVER


def test_one_due_callback_may_cancel_another(source: Source, clock: Clock) -> None:
    log: list[str] = []
    clock.at(1, lambda: second.cancel())
    second = clock.at(1, noter(log, "second"))
    source.now_ns = 1
    clock.fire()
    assert log == []


def test_an_exception_leaves_the_others_registered(source: Source, clock: Clock) -> None:
    log: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    clock.at(1, fail)
    clock.at(2, noter(log, "next"))
    source.now_ns = 3
    with pytest.raises(ZeroDivisionError):
        clock.fire()
    assert source.deadline_ns == 2
    clock.fire()
    assert log == ["next"]


def test_a_guest_that_sets_a_timer_for_ever_holds_a_bounded_heap(clock: Clock) -> None:
    ring = noter([], "ring")
    clock.at(1, ring)
    for deadline_ns in range(10_000):
        clock.at(1 << 40 | deadline_ns, ring).cancel()
    assert len(clock._timers) < 200


def test_a_closed_clock_keeps_its_time_and_takes_no_timer(source: Source, clock: Clock) -> None:
    timer = clock.at(9, noter([], "never"))
    source.now_ns = 7
    clock.close()
    clock.close()
    source.now_ns = 8
    assert (clock.now_ns, timer.pending) == (7, False)
    timer.cancel()
    with pytest.raises(RuntimeError, match="closed"):
        clock.at(9, noter([], "never"))


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())), st.lists(st.integers(0, 10), max_size=8))
def test_fires_as_a_sorted_list_would(timers: list[tuple[int, bool]], steps: list[int]) -> None:
    source = Source()
    clock = Clock(source)
    fired: list[int] = []
    left: list[tuple[int, int]] = []
    for number, (deadline_ns, cancelled) in enumerate(timers):
        timer = clock.at(deadline_ns, lambda number=number: fired.append(number))  # type: ignore[misc]
        if cancelled:
            timer.cancel()
        else:
            left.append((deadline_ns, number))
    left.sort()
    expected: list[int] = []
    for step in steps:
        source.now_ns += step
        clock.fire()
        expected += [number for deadline_ns, number in left if deadline_ns <= source.now_ns]
        left = [entry for entry in left if entry[0] > source.now_ns]
        assert fired == expected
        assert source.deadline_ns == (left[0][0] if left else NEVER)


def test_a_timer_that_the_engine_could_not_be_told_of_is_not_put_back(clock: Clock) -> None:
    clock.at(5, noter([], "near"))
    clock.at(MOMENTS, noter([], "far"))
    with pytest.raises(ValueError, match="a timer is set past"):
        clock.restore(0)
