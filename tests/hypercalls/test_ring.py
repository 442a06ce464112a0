from errno import EFAULT, EINVAL, EIO, ENOSPC, ENOSYS

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls import ring
from hypercalls.ring import OUT_OF_REACH, POLL_NS, passes
from pv.clock import NEVER
from tests.hypercalls.rings import ADD, END, ENTRIES, FAIL, FAULT, GPA, PORT, RingGuest, boot, pass_time


@pytest.fixture
def booted(machine):
    return boot(machine)


@pytest.fixture
def guest(booted):
    return RingGuest(booted)


def test_calls_are_made_in_their_order_and_completed_with_their_tokens(guest):
    for token in range(3):
        guest.submit(ADD, token, 10, token=token << 60)
    assert guest.kick() == 3
    assert guest.reap() == [(token << 60, token + 10) for token in range(3)]
    assert (guest.get("submit_head"), guest.get("complete_tail"), guest.get("broken")) == (3, 3, 0)


def test_what_a_call_cannot_be_is_its_result(guest, booted):
    for number in (0x9999, FAIL, FAULT, 1 << 31):
        guest.submit(number)
    assert guest.kick() == 4
    assert [result for _, result in guest.reap()] == [-ENOSYS, -EIO, -EFAULT, -ENOSYS]
    for name in ("ring_kick", "multicall", "exit", "event_wait"):
        guest.submit(booted.call_numbers[name])
    assert guest.kick() == 4
    assert [result for _, result in guest.reap()] == [-EINVAL] * 4


@pytest.mark.parametrize(
    ("registers", "errno"),
    [
        ((GPA, 0, PORT), EINVAL),
        ((GPA, 3, PORT), EINVAL),
        ((GPA, abi.RING_MOST * 2, PORT), EINVAL),
        ((GPA, 1 << 31, PORT), EINVAL),
        ((GPA + 64, 4, PORT), EINVAL),
        ((GPA, 4, 1), EINVAL),
        ((GPA, 4, abi.EVENT_PORTS), EINVAL),
        ((END - 4096, 64, PORT), EFAULT),
        ((END, 1, PORT), EFAULT),
        ((1 << 63, 1, PORT), EFAULT),
        (((1 << 64) - 4096, abi.RING_MOST, PORT), EFAULT),
    ],
)
def test_rings_that_are_refused(booted, registers, errno):
    assert booted.errno("ring_open", *registers) == errno
    assert booted.state["ring"].open == {}


def test_rings_are_numbered_and_bounded(booted):
    opened = [booted.ask("ring_open", GPA, 1, abi.NO_PORT) for _ in range(ring.RINGS_MOST)]
    assert opened == list(range(ring.RINGS_MOST))
    assert booted.errno("ring_open", GPA, 1, abi.NO_PORT) == ENOSPC
    assert booted.ask("ring_close", 5) == 0
    assert booted.errno("ring_kick", 5) == EINVAL
    assert booted.ask("ring_open", GPA, 1, abi.NO_PORT) == 5


def test_a_ring_that_is_not_open(booted):
    for name in ("ring_kick", "ring_close"):
        for number in (0, 16, 0xFFFF_FFFF):
            assert booted.errno(name, number) == EINVAL


# Suppression of kicks: the guest's first call needs one; from then on the monitor looks by itself until it finds none.


def test_a_busy_ring_is_kicked_once(guest, booted):
    kicks, done = 0, []
    for turn in range(99):
        guest.submit(ADD, turn, 0, token=turn)
        if guest.kick_is_needed():
            kicks += 1
            guest.kick()
        pass_time(booted, POLL_NS // 3 + 1)
        done += guest.reap()
    pass_time(booted, POLL_NS)
    assert kicks == 1
    assert done + guest.reap() == [(turn, turn) for turn in range(99)]


def test_an_idle_ring_is_looked_at_once_more_and_then_needs_a_kick(guest, booted):
    guest.submit(ADD, 1, 2)
    assert guest.kick_is_needed()
    assert guest.kick() == 1
    assert guest.get("kick_at") == 1 + OUT_OF_REACH
    assert booted.clock.deadline_ns == POLL_NS
    pass_time(booted, POLL_NS)
    assert (booted.clock.deadline_ns, guest.get("kick_at")) == (NEVER, 1)
    guest.submit(ADD, 3, 4)
    assert guest.kick_is_needed()


def test_a_call_without_a_kick_waits_for_the_next_look_and_no_longer(guest, booted):
    guest.submit(ADD, 1, 2)
    guest.kick()
    guest.submit(ADD, 3, 4, token=9)
    assert not guest.kick_is_needed() or guest.looked_at == 2
    guest.reap()
    pass_time(booted, POLL_NS - 1)
    assert guest.reap() == []
    pass_time(booted, 1)
    assert guest.reap() == [(9, 7)]


def test_a_kick_that_finds_nothing_starts_no_polling(guest, booted):
    assert guest.kick() == 0
    assert (booted.clock.deadline_ns, guest.get("kick_at")) == (NEVER, 0)


# Suppression of events, by notify_at.


def test_notify_at_is_the_completion_that_raises_the_port(guest):
    guest.set("notify_at", 2)
    raised = []
    for turn in range(5):
        guest.submit(ADD, turn, 0)
        guest.kick()
        guest.reap()
        raised.append(guest.notified())
    assert raised == [False, False, True, False, False]


def test_one_event_for_many_completions(guest):
    guest.set("notify_at", 3)
    for turn in range(4):
        guest.submit(ADD, turn, 0)
    guest.kick()
    assert guest.notified()
    assert not guest.notified()


def test_no_event_is_raised_behind_the_guest(guest):
    guest.set("notify_at", -1)
    for turn in range(9):
        guest.submit(ADD, turn, 0)
        guest.kick()
        guest.reap()
    assert not guest.notified()


def test_a_ring_without_a_port_and_one_whose_port_is_closed(booted):
    quiet = RingGuest(booted, port=abi.NO_PORT)
    quiet.submit(ADD)
    assert quiet.kick() == 1
    loud = RingGuest(booted, gpa=GPA + 4096)
    booted.ask("event_close", PORT)
    booted.ask("event_open")  # another's now
    loud.submit(ADD)
    assert loud.kick() == 1
    assert not loud.notified()


# Back-pressure.


def test_calls_wait_while_completions_are_full(guest, booted):
    for turn in range(ENTRIES):
        guest.submit(ADD, turn, 0, token=turn)
    assert guest.kick() == ENTRIES
    for turn in range(ENTRIES, ENTRIES + 3):
        guest.submit(ADD, turn, 0, token=turn)
    assert guest.kick() == 0
    assert guest.get("submit_head") == ENTRIES
    guest.set("complete_head", 2)
    assert guest.kick() == 2
    assert [token for token, _ in guest.reap()] == [2, 3, 4, 5]
    pass_time(booted, POLL_NS)
    assert guest.reap() == [(6, 6)]


def test_a_full_ring_does_not_keep_the_monitor_polling(guest, booted):
    for turn in range(ENTRIES):
        guest.submit(ADD, turn, 0)
    guest.kick()
    guest.submit(ADD)
    pass_time(booted, POLL_NS)
    assert booted.clock.deadline_ns == NEVER


# Indices that wrap, jump and lie.


@given(st.integers(0, (1 << 32) - 1), st.integers(0, abi.RING_MOST), st.integers(0, (1 << 32) - 1))
def test_a_step_passes_what_lies_in_it(old, step, at):
    new = (old + step) % (1 << 32)
    assert passes(at, old, new) == ((at - old) % (1 << 32) < step)


def test_indices_wrap(guest, booted):
    state = booted.state["ring"].open[guest.number]
    first = (1 << 32) - 3
    state.submit_head = state.complete_tail = state.judged_tail = first
    for field in ("submit_tail", "submit_head", "complete_head", "complete_tail", "kick_at"):
        guest.set(field, first)
    guest.looked_at = first
    guest.set("notify_at", 1)  # the fifth from here
    raised = []
    for turn in range(8):
        guest.submit(ADD, turn, 0, token=turn)
        assert guest.kick_is_needed() == (turn == 0)
        guest.kick()
        raised.append(guest.notified())
        assert guest.reap() == [(turn, turn)]
    assert raised == [turn == 4 for turn in range(8)]
    assert guest.get("submit_head") == guest.get("complete_tail") == 5


# A model: the ring is two queues, and whatever a guest does by the rules comes out in order.

STEP = st.one_of(
    st.tuples(st.just("submit"), st.integers(1, 6)),
    st.tuples(st.just("kick if needed"), st.just(0)),
    st.tuples(st.just("kick"), st.just(0)),
    st.tuples(st.just("reap"), st.just(0)),
    st.tuples(st.just("pass time"), st.integers(1, 3 * POLL_NS)),
)


@given(st.lists(STEP, max_size=40), st.sampled_from([1, 2, 4, 8]), st.sampled_from([0, (1 << 32) - 5]))
@settings(deadline=None)
def test_calls_come_out_as_they_went_in(make_machine, steps, entries, first):
    machine = boot(make_machine())
    guest = RingGuest(machine, entries=entries)
    state = machine.state["ring"].open[0]
    state.submit_head = state.complete_tail = state.judged_tail = guest.looked_at = first
    for field in ("submit_tail", "submit_head", "complete_head", "complete_tail", "kick_at"):
        guest.set(field, first)
    sent, done = 0, []
    for what, argument in [*steps, ("kick", 0), ("reap", 0)]:
        if what == "submit":
            for _ in range(argument):
                if (guest.get("submit_tail") - guest.get("complete_head")) % (1 << 32) < entries:
                    guest.submit(ADD, sent, 1, token=sent)
                    sent += 1
        elif what == "kick" or (what == "kick if needed" and guest.kick_is_needed()):
            guest.kick()
            assert guest.get("submit_head") == guest.get("submit_tail")
        elif what == "reap":
            done += guest.reap()
        elif what == "pass time":
            pass_time(machine, argument)
        # No call is forgotten: it was made, or a look at it is to come, or the guest is to kick.
        if guest.get("submit_head") != guest.get("submit_tail"):
            polled = state.polling is not None and state.polling.pending
            assert polled or passes(guest.get("kick_at"), guest.looked_at, guest.get("submit_tail"))
    assert done == [(token, token + 1) for token in range(sent)]
    machine.memory.close()
