"""When does a chip want to be called back? One deadline of its own, over what its wiring gives it to ask with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call-back that is still to come, as pv.clock.Clock.at() returns it."""

    number: int  # its place among those registered: what falls due at one time comes in this order

    def cancel(self) -> None: ...


At = Callable[[int, Callable[[], object]], Timer]
"""at(ns, callback): call `callback` once, as soon as virtual time is `ns` or later."""


class Deadline:
    """At most one call-back asked for, so that a guest which reprograms a timer for ever holds one."""

    def __init__(self, at: At) -> None:
        self._at = at
        self._ns: int | None = None
        self._timer: Timer | None = None

    def set(self, ns: int | None, callback: Callable[[], object]) -> None:
        """Call `callback` once at `ns` instead of when it was asked for before; None for never."""
        if ns == self._ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._ns = ns
        self._timer = None if ns is None else self._at(ns, callback)

    def save(self) -> list[int] | None:
        """[ns, the timer's number], or None where none is asked for."""
        return None if self._ns is None or self._timer is None else [self._ns, self._timer.number]

    def restore(self, saved: tuple[int, int] | None, callback: Callable[[], object]) -> None:
        """Ask for what was saved. Whoever keeps the clock puts the order right once all have asked."""
        self.set(None, callback)
        if saved is not None:
            self.set(saved[0], callback)
            assert self._timer is not None
            self._timer.number = saved[1]

    def reached(self) -> None:
        """Say that the call-back came: the next set() asks anew."""
        self._ns = self._timer = None
