"""timer: an event port raised at a moment of the machine's time, once or over and over.

A port has one timer. Ticks that nobody could take are skipped, never queued: a guest that comes late finds one event.
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import EINVAL
from typing import Final

from guest_sdk import abi
from hypercalls.arguments import U32
from hypercalls.call import hypercall
from hypercalls.events import check_port, on_close, raise_port
from hypercalls.machine_view import MachineView
from hypercalls.plugin import Plugin
from pv.clock import Timer
from pv.exits import GuestError

NAME: Final = "timer"


@dataclass(slots=True)
class PortTimer:
    """A port's timer: when it is due, in virtual ns, and how long after that again; 0 for once."""

    deadline_ns: int
    period_ns: int
    armed: Timer | None = None


def timers_of(machine: MachineView) -> dict[int, PortTimer]:
    """The machine's timers by port."""
    found: dict[int, PortTimer] = machine.state[NAME]
    return found


def arm(machine: MachineView, port: int, timer: PortTimer) -> None:
    """Have `timer` raise `port` at its deadline."""
    timer.armed = machine.clock.at(timer.deadline_ns, lambda: fire(machine, port, timer))


def fire(machine: MachineView, port: int, timer: PortTimer) -> None:
    """The deadline is reached: raise the port, and go on with the first tick that is still to come."""
    missed = (machine.clock.now_ns - timer.deadline_ns) // timer.period_ns if timer.period_ns else 0
    timer.deadline_ns += timer.period_ns * (missed + 1)
    if timer.period_ns and timer.deadline_ns <= abi.TIME_MOST:
        arm(machine, port, timer)
    else:
        del timers_of(machine)[port]
    raise_port(machine, port)


def forget(machine: MachineView, port: int) -> None:
    """Cancel the port's timer, if it has one."""
    timer = timers_of(machine).pop(port, None)
    if timer is not None and timer.armed is not None:
        timer.armed.cancel()


def check_times(deadline_ns: int, period_ns: int) -> None:
    """Raises GuestError(EINVAL) for a period that is too short, and for times past TIME_MOST."""
    if max(deadline_ns, period_ns) > abi.TIME_MOST or 0 < period_ns < abi.TIMER_PERIOD_LEAST:
        raise GuestError(EINVAL, f"timer at {deadline_ns} ns, every {period_ns} ns")


@hypercall(0x1022, "timer_set", result="0; raises the port then")
def timer_set(machine: MachineView, port: U32, deadline_ns: int, period_ns: int) -> int:
    """Raise `port` at `deadline_ns` of clock_read's time, at once if that is past, and then every `period_ns`.

    A period of 0 is once. Setting a timer again replaces it; closing its port cancels it. -EINVAL for a period below
    TIMER_PERIOD_LEAST, in which a guest could get nothing done between ticks, and for times past TIME_MOST.
    """
    check_port(machine, port)
    check_times(deadline_ns, period_ns)
    forget(machine, port)
    timer = timers_of(machine)[port] = PortTimer(deadline_ns, period_ns)
    arm(machine, port, timer)
    return 0


@hypercall(0x1023, "timer_cancel", result="0")
def timer_cancel(machine: MachineView, port: U32) -> int:
    """Cancel the port's timer. An event that it raised already stays pending."""
    check_port(machine, port)
    forget(machine, port)
    return 0


def set_up(machine: MachineView) -> dict[int, PortTimer]:
    on_close(machine, forget)
    return {}


def save(timers: dict[int, PortTimer]) -> list[list[int]]:
    """[port, deadline, period, its number in the clock's order] of each timer."""
    armed = [(port, timer, timer.armed) for port, timer in timers.items()]
    return [[port, timer.deadline_ns, timer.period_ns, a.number if a else 0] for port, timer, a in armed]


def restore(machine: MachineView, saved: list[list[int]]) -> None:
    """Have the same timers again. The clock has forgotten those that there were."""
    timers = timers_of(machine)
    timers.clear()
    if not all(type(word) is int and word >= 0 for row in saved for word in row):
        raise GuestError(EINVAL, "its timers are none")
    for port, deadline_ns, period_ns, number in saved:
        check_times(deadline_ns, period_ns)
        timer = timers[port] = PortTimer(deadline_ns, period_ns)
        arm(machine, port, timer)
        assert timer.armed is not None
        timer.armed.number = number


PLUGIN: Final = Plugin(
    NAME, "1", (timer_set, timer_cancel), (NAME,), on_set_up=set_up, on_save=save, on_restore=restore
)
