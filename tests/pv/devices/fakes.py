"""Wiring for chips under test: a clock moved by hand, and a line that remembers its edges."""

from __future__ import annotations

from collections.abc import Callable

from pv.clock import Clock, Timer


class FakeTime:
    """Virtual time under a real pv.clock.Clock; stop_at() goes from deadline to deadline as an engine does."""

    def __init__(self) -> None:
        self.now = 0
        self._deadline = -1
        self.clock = Clock(self)
        self.fired: list[int] = []

    @property
    def now_ns(self) -> int:
        return self.now

    def read(self) -> int:
        return self.now

    def set_deadline(self, deadline_ns: int) -> None:
        self._deadline = deadline_ns

    @property
    def deadline_ns(self) -> int:
        return self.clock.deadline_ns

    def at(self, ns: int, callback: Callable[[], object]) -> Timer:
        return self.clock.at(ns, callback)

    def stop_at(self, ns: int) -> None:
        """Move to `ns`, firing what is due on the way, each at its own time."""
        while 0 <= self.clock.deadline_ns <= ns:
            self.now = max(self.now, self.clock.deadline_ns)
            self.fired.append(self.now)
            self.clock.fire()
        self.now = ns


class Line:
    """An interrupt line: its level, and how often it rose."""

    def __init__(self) -> None:
        self.level = False
        self.rises = 0

    def __call__(self, level: bool) -> None:
        self.rises += level and not self.level
        self.level = level
