"""Rings whose indices lie, whose calls reach into them, whose handlers raise, whose memory is something else."""

from errno import EAGAIN, EINVAL, EIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls.call import hypercall
from hypercalls.ring import POLL_NS
from pv.clock import NEVER
from pv.exits import GuestError
from tests.hypercalls.rings import ADD, END, ENTRIES, GPA, LAYOUT, RAISE, SCRIBBLE, RingGuest, boot, pass_time


@pytest.fixture
def booted(machine):
    return boot(machine)


@pytest.fixture
def guest(booted):
    return RingGuest(booted)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("submit_tail", value) for value in (ENTRIES + 1, -1, 1 << 31)),
        *(("complete_head", value) for value in (1, 1 << 31, -ENTRIES - 1)),
    ],
)
def test_an_impossible_index_closes_the_ring_and_says_so(guest, booted, field, value):
    guest.put(ADD, at=0)
    guest.set(field, value)
    assert booted.errno("ring_kick", guest.number) == EINVAL
    assert (guest.get("broken"), guest.get("submit_head"), guest.notified()) == (1, 0, True)
    assert booted.errno("ring_kick", guest.number) == EINVAL
    assert (booted.state["ring"].open, booted.clock.deadline_ns) == ({}, NEVER)


def test_a_poll_finds_it_too(guest, booted):
    guest.set("notify_at", -1)
    guest.submit(ADD)
    guest.kick()
    guest.set("submit_tail", 77)
    pass_time(booted, POLL_NS)
    assert (guest.get("broken"), guest.notified(), booted.clock.deadline_ns) == (1, True, NEVER)


def test_what_the_monitor_wrote_is_not_read_back(guest):
    for field in ("submit_head", "complete_tail", "kick_at", "broken"):
        guest.set(field, 0x1234_5678)
    guest.submit(ADD, 2, 3, token=4)
    guest.set("complete_head", 0)
    assert guest.kick() == 1
    assert (guest.get("submit_head"), guest.get("complete_tail")) == (1, 1)
    assert guest.reap() == [(4, 5)]


# Calls that reach into the ring they stand in.


def test_a_call_is_copied_as_its_turn_comes(guest):
    second = GPA + LAYOUT.size_bytes + 64
    guest.submit(SCRIBBLE, second + 8, 8, 41, token=1)
    guest.submit(ADD, 0, 1, token=2)
    assert guest.kick() == 2
    assert guest.reap() == [(1, 0), (2, 42)]


def test_a_call_cannot_change_itself(guest):
    own = GPA + LAYOUT.size_bytes
    guest.submit(SCRIBBLE, own + 56, 8, 99, token=1)
    assert guest.kick() == 1
    assert guest.reap() == [(1, 0)]


def test_a_tail_that_moves_during_a_pass_counts_from_the_next(guest, booted):
    guest.submit(SCRIBBLE, GPA + LAYOUT.offset("submit_tail"), 4, 2, token=1)
    guest.put(ADD, 1, 1, token=2, at=1)
    assert guest.kick() == 1
    assert guest.reap() == [(1, 0)]
    pass_time(booted, POLL_NS)
    assert guest.reap() == [(2, 2)]


def test_a_tail_that_jumps_during_a_pass_breaks_the_ring_at_the_next(guest, booted):
    guest.submit(SCRIBBLE, GPA + LAYOUT.offset("submit_tail"), 4, 1 << 30)
    assert guest.kick() == 1
    pass_time(booted, POLL_NS)
    assert guest.get("broken") == 1


def test_a_ring_that_closes_itself_ends_with_its_pass(guest, booted):
    guest.submit(booted.call_numbers["ring_close"], guest.number, token=1)
    guest.submit(ADD, 1, 1, token=2)
    assert guest.kick() == 2
    assert guest.reap() == [(1, 0), (2, 2)]
    assert (booted.state["ring"].open, booted.clock.deadline_ns) == ({}, NEVER)
    assert booted.errno("ring_kick", guest.number) == EINVAL


def test_a_ring_may_open_and_close_others(guest, booted):
    numbers = booted.call_numbers
    guest.submit(numbers["ring_open"], GPA + 4096, 2, abi.NO_PORT)
    guest.submit(numbers["ring_close"], 1)
    guest.submit(numbers["ring_open"], GPA, ENTRIES, abi.NO_PORT)  # over this very ring
    assert guest.kick() == 3
    assert [result for _, result in guest.reap()] == [1, 0, 1]
    assert sorted(booted.state["ring"].open) == [0, 1]


def test_a_ring_that_is_being_emptied_is_not_kicked(guest, booted):
    @hypercall(0x8010, "nested_kick")
    def nested_kick(_machine) -> int:
        return booted.ask("ring_kick", 0)  # as a function of the guest would, called from here

    booted.add(nested_kick)
    guest.submit(0x8010)
    assert guest.kick() == 1
    assert guest.reap() == [(0, -EAGAIN)]


def test_a_poll_that_falls_into_a_pass_comes_again(guest, booted):
    @hypercall(0x8011, "long")
    def long(machine) -> int:
        pass_time(machine, 2 * POLL_NS)  # as a call into the guest would
        return 0

    booted.add(long)
    guest.submit(ADD)
    guest.kick()
    guest.submit(0x8011)
    guest.kick()
    assert booted.state["ring"].open[0].polling.pending
    guest.submit(ADD, 1, 1, token=3)
    pass_time(booted, POLL_NS)
    assert guest.reap()[-1] == (3, 2)


# What leaves a handler.


@pytest.mark.parametrize("by_poll", [False, True])
def test_a_handler_s_exception_leaves_the_ring_whole(guest, booted, by_poll):
    if by_poll:
        guest.submit(ADD)
        guest.kick()
        guest.reap()
    guest.notified()
    before = guest.get("submit_tail")
    guest.set("notify_at", before)
    for token, number in enumerate((ADD, RAISE, ADD)):
        guest.submit(number, token, 1, token=token)
    with pytest.raises(ZeroDivisionError):
        pass_time(booted, POLL_NS) if by_poll else guest.kick()
    assert guest.get("submit_head") == before + 2
    if by_poll:
        pass_time(booted, POLL_NS)
    else:
        assert guest.kick() == 1
    assert guest.reap() == [(0, 1), (1, -EIO), (2, 3)]
    assert guest.notified()


# Memory that is something else as well.


def test_two_rings_on_one_page_harm_the_guest_alone(booted):
    one, two = RingGuest(booted), RingGuest(booted)
    one.submit(ADD, 1, 1)
    assert one.kick() == 1
    assert two.kick() == 1  # it found the same call there
    assert booted.memory.read(GPA + 4096, 4096) == bytes(4096)


def test_a_ring_at_the_very_end_of_memory(booted):
    size = LAYOUT.size_bytes + 32 * (64 + 16)
    assert END - 4096 + size <= END
    last = RingGuest(booted, gpa=END - 4096, entries=32)
    for token in range(32):
        last.submit(ADD, token, 0, token=token)
    assert last.kick() == 32
    assert last.reap() == [(token, token) for token in range(32)]


@given(st.binary(min_size=512, max_size=512), st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=8))
@settings(deadline=None)
def test_any_bytes_in_a_ring_harm_nobody(make_machine, noise, pokes):
    machine = boot(make_machine())
    guest = RingGuest(machine)
    machine.memory.write(GPA, noise[: LAYOUT.size_bytes + ENTRIES * 80])
    for at, value in [*pokes, (0, 1)]:
        try:
            assert 0 <= machine.ask("ring_kick", 0) <= ENTRIES
        except GuestError as error:
            assert error.errno == EINVAL  # noqa: PT017 (one of the right answers)
            assert 0 not in machine.state["ring"].open
        except ZeroDivisionError:
            pass  # the call that raises was among the noise
        machine.memory.view[GPA + at] = value
        pass_time(machine, POLL_NS)
    assert guest.number == 0
    machine.memory.close()
