"""What does a local APIC's timer count, and when does it reach zero? Exact in virtual time, no ticking.

Intel SDM vol. 3, 11.5.4. Its clock is HZ before the divider; a count is where it started and when.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from guest_sdk.abi import TIME_MOST
from pv.devices.deadline import At, Deadline
from pv.devices.state import SavedFields, State, StateError, check_deadline

HZ: Final = 1_000_000_000  # the bus clock, fixed in virtual time; a guest calibrates it against the 8254
NS_PER_TICK: Final = 1_000_000_000 // HZ
DIVIDE_BITS: Final = 0b1011  # of the divide configuration register
DIVISORS: Final = {0b0000: 2, 0b0001: 4, 0b0010: 8, 0b0011: 16, 0b1000: 32, 0b1001: 64, 0b1010: 128, 0b1011: 1}


class LocalApicTimer(SavedFields):
    """One down counter. After each change its owner says by schedule() whether it is to be told of the next expiry."""

    saved_fields: ClassVar = ("initial", "periodic", "divide", "_start_ns", "_loaded")
    saved_ranges: ClassVar = {
        "initial": range(1 << 32),
        "_start_ns": range(TIME_MOST + 1),
        "_loaded": range(1 << 32),
    }
    wiring_fields: ClassVar = ("_now_ns", "_deadline")

    def __init__(self, now_ns: Callable[[], int], at: At) -> None:
        self._now_ns = now_ns
        self._deadline: Final = Deadline(at)
        self.reset()

    def save(self) -> State:
        return {**super().save(), "deadline": self._deadline.save()}

    def restore_for(self, saved: State, expired: Callable[[], None]) -> None:
        """Put it back, and call `expired` where it was to be called. Raises StateError."""
        deadline = check_deadline(saved.get("deadline"), "LocalApicTimer.deadline")
        if saved.get("divide") not in DIVISORS:
            raise StateError("LocalApicTimer.divide divides by nothing")
        self.restore(saved)
        if self._loaded > self.initial:
            raise StateError("LocalApicTimer.loaded is above its initial count")
        self._deadline.restore(deadline, expired)

    def reset(self) -> None:
        self.initial = 0
        self.periodic = False
        self.divide = 0
        self._start_ns = 0  # when the count of `_loaded` began
        self._loaded = 0  # the count that began then: `initial`, or what was left of it when the divider changed

    @property
    def _tick_ns(self) -> int:
        return NS_PER_TICK * DIVISORS[self.divide]

    def start(self, count: int) -> None:
        """A write of the initial count, 32 bits; 0 stops it."""
        self.initial = self._loaded = count
        self._start_ns = self._now_ns()

    def set_divide(self, value: int) -> None:
        """A write of the divide configuration: what is left is counted on at the new rate."""
        self._loaded, self._start_ns = self.current(), self._now_ns()
        self.divide = value & DIVIDE_BITS

    def set_periodic(self, periodic: bool) -> None:
        """The LVT's mode bit: what is left is counted on, and begins anew or not."""
        if periodic is not self.periodic:
            self._loaded, self._start_ns = self.current(), self._now_ns()
            self.periodic = periodic

    def current(self) -> int:
        """The current count: 0 where nothing counts."""
        elapsed = (self._now_ns() - self._start_ns) // self._tick_ns
        if elapsed < self._loaded:
            return self._loaded - elapsed
        if not self.periodic or not self._loaded:
            return 0
        return self.initial - (elapsed - self._loaded) % self.initial

    def schedule(self, expired: Callable[[], None] | None) -> None:
        """Call `expired` once at the next expiry, where there is one; None where it would make no difference."""
        if expired is None:
            self._deadline.set(None, self._deadline.reached)
        else:
            self._deadline.set(self._next_ns(), expired)

    def reached(self) -> None:
        """Say that the call-back came: the next schedule() asks anew."""
        self._deadline.reached()

    def _next_ns(self) -> int | None:
        """The first expiry after now."""
        if not self._loaded:
            return None
        tick_ns, now_ns = self._tick_ns, self._now_ns()
        first_ns = self._start_ns + self._loaded * tick_ns
        if now_ns < first_ns:
            return first_ns
        if not self.periodic:
            return None
        period_ns = self.initial * tick_ns
        return first_ns + ((now_ns - first_ns) // period_ns + 1) * period_ns
