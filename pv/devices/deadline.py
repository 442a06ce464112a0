"""When does a chip want to be called back? One deadline of its own, over what its wiring gives it to ask with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call-back that is still to come, as pv.clock.Clock.at() returns it."""

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

    def reached(self) -> None:
        """Say that the call-back came: the next set() asks anew."""
        self._ns = self._timer = None
