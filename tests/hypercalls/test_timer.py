from errno import EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import Guest, abi
from hypercalls import clock, events, timer
from hypercalls.events import PENDING
from pv.clock import NEVER
from pv.exits import StopWhy
from pv.machine import Machine

PAGE = 0x5000
PERIOD = abi.TIMER_PERIOD_LEAST


@pytest.fixture
def booted(machine):
    machine.add(events.PLUGIN, timer.PLUGIN)
    machine.ask("event_page", PAGE, 0)
    for _ in range(3):
        machine.ask("event_open")
    return machine


def ticked(machine, port):
    """Whether the port was raised since this was asked last."""
    at, bit = PAGE + PENDING + port // 8, 1 << port % 8
    byte = machine.memory.view[at]
    machine.memory.view[at] = byte & ~bit
    return bool(byte & bit)


def pass_to(machine, now_ns):
    machine.vcpu.now_ns = now_ns
    machine.clock.fire()


def test_a_timer_raises_its_port_once_at_its_deadline(booted):
    assert booted.ask("timer_set", 1, 5000, 0) == 0
    assert booted.vcpu.deadline_ns == 5000
    pass_to(booted, 4999)
    assert not ticked(booted, 1)
    pass_to(booted, 5000)
    assert ticked(booted, 1)
    assert not ticked(booted, 0)
    assert (booted.clock.deadline_ns, booted.state["timer"]) == (NEVER, {})


def test_a_deadline_that_is_past_is_due_at_once(booted):
    booted.vcpu.now_ns = 9000
    booted.ask("timer_set", 0, 5000, 0)
    pass_to(booted, 9000)
    assert ticked(booted, 0)


def test_a_period_counts_from_the_deadline(booted):
    booted.ask("timer_set", 0, 5000, PERIOD)
    for at in (5000, 5000 + PERIOD, 5000 + 2 * PERIOD):
        assert booted.clock.deadline_ns == at
        pass_to(booted, at + 700)  # however late it was noticed
        assert ticked(booted, 0)


def test_missed_ticks_are_skipped(booted):
    booted.ask("timer_set", 0, 5000, PERIOD)
    pass_to(booted, 5000 + 7 * PERIOD + 1)
    assert ticked(booted, 0)
    assert booted.clock.deadline_ns == 5000 + 8 * PERIOD
    pass_to(booted, 5000 + 8 * PERIOD - 1)
    assert not ticked(booted, 0)


def test_setting_again_replaces(booted):
    booted.ask("timer_set", 0, 5000, PERIOD)
    booted.ask("timer_set", 0, 90_000, 0)
    assert booted.clock.deadline_ns == 90_000
    pass_to(booted, 89_999)
    assert not ticked(booted, 0)


def test_ports_have_timers_of_their_own(booted):
    booted.ask("timer_set", 0, 5000, 0)
    booted.ask("timer_set", 1, 4000, 0)
    pass_to(booted, 4000)
    assert (ticked(booted, 0), ticked(booted, 1)) == (False, True)


def test_cancel(booted):
    booted.ask("timer_set", 0, 5000, PERIOD)
    assert booted.ask("timer_cancel", 0) == 0
    assert booted.clock.deadline_ns == NEVER
    assert booted.ask("timer_cancel", 0) == 0


def test_closing_the_port_cancels(booted):
    booted.ask("timer_set", 0, 5000, PERIOD)
    booted.ask("event_close", 0)
    assert (booted.clock.deadline_ns, booted.state["timer"]) == (NEVER, {})
    assert booted.ask("event_open") == 0
    pass_to(booted, 5000)
    assert not ticked(booted, 0)


@pytest.mark.parametrize(
    "registers",
    [
        *((port, 0, 0) for port in (3, 1024, 0xFFFF_FFFF)),
        *((0, 0, period) for period in (PERIOD - 1, 1, abi.TIME_MOST + 1)),
        *((0, deadline, 0) for deadline in (abi.TIME_MOST + 1, (1 << 64) - 1)),
    ],
)
def test_timers_that_are_refused(booted, registers):
    booted.ask("timer_set", 1, 77_000, 0)
    assert booted.errno("timer_set", *registers) == EINVAL
    assert booted.clock.deadline_ns == 77_000


def test_a_machine_without_events_has_no_ports(machine):
    machine.add(timer.PLUGIN)
    assert machine.errno("timer_set", 0, 0, 0) == EINVAL
    assert machine.errno("timer_cancel", 0) == EINVAL


def test_time_ends_before_it_could_overflow(booted):
    booted.ask("timer_set", 0, abi.TIME_MOST, abi.TIME_MOST)
    pass_to(booted, abi.TIME_MOST)
    assert ticked(booted, 0)
    assert booted.clock.deadline_ns == NEVER


ACTION = st.tuples(
    st.sampled_from(["timer_set", "timer_cancel", "event_close", "pass"]), st.integers(0, 2)
) | st.tuples(st.just("pass"), st.integers(0, 50_000))


@given(st.lists(st.tuples(ACTION, st.integers(0, 60_000), st.sampled_from([0, PERIOD, PERIOD + 1, 25_000]))))
def test_ticks_are_those_of_a_model(make_machine, actions):
    machine = make_machine().add(events.PLUGIN, timer.PLUGIN)
    machine.ask("event_page", PAGE, 0)
    for _ in range(3):
        machine.ask("event_open")
    model, opened = {}, {0, 1, 2}
    for (what, argument), deadline, period in actions:
        if what == "pass":
            now = machine.vcpu.now_ns + argument
            pass_to(machine, now)
            due = {port for port, (at, _) in model.items() if at <= now}
            assert {port for port in range(3) if ticked(machine, port)} == due
            for port in due:
                at, every = model.pop(port)
                if every:
                    model[port] = (next(t for t in range(at, now + every + 1, every) if t > now), every)
        elif argument not in opened:
            assert machine.errno(what, *(argument, deadline, period)[: 3 if what == "timer_set" else 1]) == EINVAL
        else:
            machine.ask(what, *(argument, deadline, period)[: 3 if what == "timer_set" else 1])
            model.pop(argument, None)
            if what == "timer_set":
                model[argument] = (deadline, period)
            elif what == "event_close":
                opened.remove(argument)
    assert machine.clock.deadline_ns == min((at for at, _ in model.values()), default=NEVER)
    machine.memory.close()


def test_a_guest_sleeps_between_ticks():
    """Ten ticks: an exit each, and the time is theirs."""
    guest = Guest("ticks", paravirt=True).bss("page", 4096, align=4096)
    guest.asm("main:")
    guest.call.event_page("page", 0)
    guest.call.event_open()
    guest.call.timer_set(0, 1_000_000, 1_000_000)
    guest.asm("mov ebx, 10\nagain:")
    guest.call.event_wait()
    guest.asm("mov byte ptr [page + EVENT_PAGE_PENDING], 0\ndec ebx\njnz again")
    guest.call.clock_read()
    guest.asm("xor edx, edx\nmov ecx, 1000000\ndiv rcx\nret")  # whole ms, as the exit status
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, 10)
        assert outcome.by_key["VMCALL", "event_wait"] == 10
        assert outcome.exits["VMCALL"] == 3 + 10 + 2
        assert clock.PLUGIN.name in machine.state
