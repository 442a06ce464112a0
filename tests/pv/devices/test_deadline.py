"""One re-settable deadline over a clock."""

from __future__ import annotations

from pv.devices.deadline import Deadline
from tests.pv.devices.fakes import FakeTime


def test_setting_again_replaces_and_none_withdraws() -> None:
    time, calls = FakeTime(), []
    deadline = Deadline(time.at)
    deadline.set(100, lambda: calls.append(time.now))
    deadline.set(50, lambda: calls.append(time.now))
    time.stop_at(200)
    assert calls == [50]
    deadline.reached()
    deadline.set(300, lambda: calls.append(time.now))
    deadline.set(None, lambda: calls.append(-1))
    time.stop_at(400)
    assert calls == [50]
    assert time.deadline_ns == -1


def test_the_same_moment_is_asked_for_once_until_it_is_reached() -> None:
    asked: list[int] = []
    time = FakeTime()

    def at(ns, callback):  # type: ignore[no-untyped-def]
        asked.append(ns)
        return time.at(ns, callback)

    deadline = Deadline(at)
    for _ in range(3):
        deadline.set(10, lambda: None)
    deadline.reached()
    deadline.set(10, lambda: None)
    assert asked == [10, 10]
