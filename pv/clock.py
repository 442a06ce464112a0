"""When a timer fires: callbacks in the guest's virtual time.

Virtual time belongs to the engine, which moves it on at each exit and over each idle stretch, so a run's timers
fall at the same exit every time. Callbacks run by deadline, and by order of registration where deadlines are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, Protocol

NEVER: Final = -1
MOMENTS: Final = 1 << 63  # the engine's are signed, of 64 bits
CANCELLED_MOST: Final = 64  # kept in the heap before it is swept: a guest may set one timer for ever


class TimeSource(Protocol):
    """The part of a vcpu that a clock needs."""

    @property
    def now_ns(self) -> int: ...
    def set_deadline(self, deadline_ns: int) -> None: ...


class Timer:
    """One callback to come: what Clock.at() returns. `pending` is false once it fired or was cancelled."""

    __slots__ = ("_clock", "callback", "deadline_ns", "number")

    def __init__(self, clock: Clock, deadline_ns: int, number: int, callback: Callable[[], object]) -> None:
        self._clock: Clock | None = clock
        self.deadline_ns = deadline_ns
        self.number = number
        self.callback: Callable[[], object] | None = callback

    @property
    def pending(self) -> bool:
        return self.callback is not None

    def take(self) -> Callable[[], object] | None:
        """The callback, once: the timer is no longer pending."""
        callback, self.callback, self._clock = self.callback, None, None
        return callback

    def cancel(self) -> None:
        """Never call it. Nothing happens where it fired or was cancelled before."""
        clock = self._clock
        if clock is not None:
            clock.cancel(self)

    def __lt__(self, other: Timer) -> bool:
        return (self.deadline_ns, self.number) < (other.deadline_ns, other.number)


class Clock:
    """The timers of one machine, the earliest always set as the engine's deadline."""

    def __init__(self, source: TimeSource) -> None:
        self._source: TimeSource | None = source
        self._timers: list[Timer] = []
        self._registered = 0
        self._cancelled = 0
        self._deadline_ns = NEVER
        self._closed_at_ns = 0

    @property
    def now_ns(self) -> int:
        """Virtual ns since the machine started."""
        return self._closed_at_ns if self._source is None else self._source.now_ns

    @property
    def deadline_ns(self) -> int:
        """When the next callback is due, or NEVER."""
        self._drop_cancelled()
        return self._timers[0].deadline_ns if self._timers else NEVER

    def at(self, deadline_ns: int, callback: Callable[[], object]) -> Timer:
        """Call `callback()` once virtual time reaches `deadline_ns`; one already past falls due at the next exit."""
        if self._source is None:
            raise RuntimeError("clock: the machine is closed")
        self._registered += 1
        timer = Timer(self, max(0, deadline_ns), self._registered, callback)
        heappush(self._timers, timer)
        self._set_deadline()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Never call `timer`, and move the engine's deadline to the one after it."""
        if timer.take() is None:
            return
        self._cancelled += 1
        if self._cancelled > CANCELLED_MOST and 2 * self._cancelled > len(self._timers):
            self._timers = [left for left in self._timers if left.pending]
            heapify(self._timers)
            self._cancelled = 0
        self._set_deadline()

    def fire(self) -> None:
        """Call what is due: the engine's timer source. A callback registered meanwhile waits for the next call.

        A callback's exception leaves here; those due after it stay registered.
        """
        now_ns = self.now_ns
        due: list[Timer] = []
        while self._timers and self._timers[0].deadline_ns <= now_ns:
            due.append(heappop(self._timers))
        due.reverse()
        try:
            while due:
                callback = due.pop().take()
                if callback is not None:
                    callback()
        finally:
            if due:
                self._timers += due
                heapify(self._timers)
            self._deadline_ns = NEVER - 1  # the engine forgot the deadline it reached: set it again
            self._set_deadline()

    def save(self) -> int:
        """How many timers were registered. Each timer is saved by who asked for it, with its deadline and number."""
        return self._registered

    def forget(self) -> None:
        """Drop every timer: their owners are about to ask for those that were saved."""
        for timer in self._timers:
            timer.take()
        self._timers.clear()
        self._cancelled = 0

    def restore(self, registered: int) -> None:
        """All who had timers have asked for them and given them their numbers: put them in that order.

        Raises ValueError for a timer at a moment that the engine cannot be told of.
        """
        if any(timer.deadline_ns >= MOMENTS for timer in self._timers):
            raise ValueError(f"a timer is set past {MOMENTS - 1} ns")
        self._registered = max([registered, *(timer.number for timer in self._timers)])
        heapify(self._timers)
        self._deadline_ns = NEVER - 1  # what the engine holds is not known: set it
        self._set_deadline()

    def close(self) -> None:
        """Forget every callback and the engine; now_ns stays where it was."""
        if self._source is not None:
            self._closed_at_ns = self._source.now_ns
            self._source = None
            for timer in self._timers:
                timer.take()
            self._timers.clear()

    def _drop_cancelled(self) -> None:
        while self._timers and not self._timers[0].pending:
            heappop(self._timers)
            self._cancelled = max(0, self._cancelled - 1)

    def _set_deadline(self) -> None:
        deadline_ns = self.deadline_ns
        if self._source is not None and deadline_ns != self._deadline_ns:
            self._deadline_ns = deadline_ns
            self._source.set_deadline(deadline_ns)
