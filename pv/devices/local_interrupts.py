"""Which interrupts does a local APIC give its processor, and when? Its sources, its pins, and what it holds back.

Intel SDM vol. 3, 11.5 and 11.8. The registers through which a guest sees and sets this are those of the chip,
pv.devices.local_apic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pv.devices.deadline import At
from pv.devices.interrupt_queue import NO_VECTOR, InterruptQueue, PlainQueue, reset_queue
from pv.devices.local_apic_registers import (
    EXTINT,
    LEGAL_FIRST,
    LINT0,
    LVT_OF_PIN,
    LVT_WRITABLE,
    Esr,
    Lvt,
    Register,
    Svr,
)
from pv.devices.local_apic_timer import LocalApicTimer

EXTERNAL: Final = -2  # acknowledge(): the vector is that of the controller behind LINT0


class LocalInterrupts:
    """In the state after RESET. interrupt(level) is the processor's INTR; task_priority(class) tells of CR8.

    now_ns() is virtual time; at(ns, callback) as deadline.At says. LINT0 is where an 8259 is connected.
    queue: where requests wait, one of its own without. A processor that changes it by itself sets its INTR as it does,
    so the level is said at each update and remembered nowhere here.
    """

    def __init__(
        self,
        interrupt: Callable[[bool], None],
        task_priority: Callable[[int], None],
        now_ns: Callable[[], int],
        at: At,
        queue: InterruptQueue | None = None,
    ) -> None:
        self._interrupt = interrupt
        self._tell_priority = task_priority
        self._timer: Final = LocalApicTimer(now_ns, at)
        self._pins = [False, False]  # LINT0, LINT1
        self._queue: Final = PlainQueue() if queue is None else queue
        self._enabled = True
        self.reset()

    def reset(self) -> None:
        """The state after power-up, RESET, or being enabled again (11.4.7.1); the pins stay as they are driven."""
        reset_queue(self._queue)
        self._lvt = dict.fromkeys(LVT_WRITABLE, Lvt.MASKED)
        self._svr = 0xFF
        self._errors = 0  # detected since the last write of ESR
        self._timer.reset()
        self._tell_priority(0)
        self._reschedule()
        self._update()

    def set_priority_class(self, value: int) -> None:
        """A write of CR8: TPR is 16 times `value` (0-15)."""
        self._queue.task_priority = value << 4
        self._update()

    def acknowledge(self) -> int:
        """The vector to be taken now, EXTERNAL, or NO_VECTOR where INTR is low."""
        self._interrupt(False)
        if self._passes_external():
            return EXTERNAL
        vector = self._queue.next_vector() if self._enabled else NO_VECTOR
        if vector != NO_VECTOR:
            self._queue.serve(vector)
            if vector == self._lvt[Register.LVT_TIMER] & Lvt.VECTOR:
                self._reschedule()
        self._update()
        return vector

    def lint(self, pin: int, level: bool) -> None:
        """Drive LINT0 or LINT1. Without an enabled APIC they are INTR and NMI (11.4.3); nothing here takes an NMI."""
        rises = level and not self._pins[pin]
        self._pins[pin] = level
        if rises or (level and self._lvt[LVT_OF_PIN[pin]] & Lvt.LEVEL):
            self._pin_requests(pin)
        self._update()

    def _pin_requests(self, pin: int) -> None:
        index = LVT_OF_PIN[pin]
        entry = self._lvt[index]
        if entry & (Lvt.MASKED | Lvt.DELIVERY | Lvt.REMOTE_IRR) or not self._enabled:
            return  # ExtINT is passed through as it stands
        if self._fire(index, level=bool(entry & Lvt.LEVEL)) and entry & Lvt.LEVEL:
            self._lvt[index] |= Lvt.REMOTE_IRR

    def _passes_external(self) -> bool:
        """Whether the 8259 at LINT0 interrupts the processor; no priority holds it off (11.5.1, ExtINT)."""
        if not self._pins[LINT0]:
            return False
        return not self._enabled or self._lvt[Register.LVT_LINT0] & (Lvt.DELIVERY | Lvt.MASKED) == EXTINT

    def _update(self) -> None:
        external = self._queue.external = self._passes_external()
        self._interrupt(external or (self._enabled and self._queue.next_vector() != NO_VECTOR))

    def _end_level(self, vector: int) -> None:
        """A level-triggered pin that is still driven asks again (11.8.5)."""
        for pin, index in enumerate(LVT_OF_PIN):
            if self._lvt[index] & Lvt.REMOTE_IRR and self._lvt[index] & Lvt.VECTOR == vector:
                self._lvt[index] &= ~Lvt.REMOTE_IRR
                if self._pins[pin]:
                    self._pin_requests(pin)

    def _fire(self, index: int, *, level: bool = False) -> bool:
        """A local source's interrupt, where its entry delivers it as Fixed."""
        entry = self._lvt[index]
        if entry & (Lvt.MASKED | Lvt.DELIVERY):
            return False
        if entry & Lvt.VECTOR < LEGAL_FIRST:
            if index != Register.LVT_ERROR:
                self._error(Esr.RECEIVE_ILLEGAL_VECTOR)
            return False
        self._accept(entry & Lvt.VECTOR, level=level)
        return True

    def _accept(self, vector: int, *, level: bool = False) -> None:
        """While disabled by software, an APIC takes no new interrupt (11.4.7.2)."""
        if self._svr & Svr.ENABLED:
            self._queue.accept(vector, level=level)
            self._update()

    def _error(self, bit: int) -> None:
        if not self._errors & bit:
            self._errors |= bit
            self._fire(Register.LVT_ERROR)

    def _reschedule(self) -> None:
        """A timer that is masked, or whose vector still waits to be taken, changes nothing when it expires."""
        entry = self._lvt[Register.LVT_TIMER]
        idle = entry & Lvt.MASKED or self._queue.waits(entry & Lvt.VECTOR)
        self._timer.schedule(None if idle else self._expired)

    def _expired(self) -> None:
        self._timer.reached()
        self._fire(Register.LVT_TIMER)
        self._reschedule()
