import struct
from errno import EAGAIN, EFAULT, EINVAL, EIO, ENOSPC, ENOSYS

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls import core, events, multicall, ring
from hypercalls.call import hypercall
from hypercalls.events import PENDING
from hypercalls.ring import OUT_OF_REACH, POLL_NS, passes
from pv.clock import NEVER
from pv.engines.base import GuestFault
from pv.exits import GuestError

GPA = 0x8000
PAGE = 0x5000
ENTRIES = 4
PORT = 0
END = 1 << 20
LAYOUT = abi.STRUCT_BY_NAME["ring"]
CALL = struct.Struct("<8Q")
DONE = struct.Struct("<Qq")
ADD, SCRIBBLE, FAIL, FAULT, RAISE = range(0x8001, 0x8006)


@hypercall(ADD, "add")
def add(machine, a: int, b: int) -> int:  # noqa: ARG001 (a handler's signature)
    return a + b


@hypercall(SCRIBBLE, "scribble")
def scribble(machine, gpa: int, size_bytes: int, value: int) -> int:
    machine.memory.write_uint(gpa, size_bytes, value)
    return 0


@hypercall(FAIL, "fail")
def fail(machine) -> int:  # noqa: ARG001
    raise GuestError(EIO)


@hypercall(FAULT, "fault")
def fault(machine) -> int:  # noqa: ARG001
    raise GuestFault(14, 2)


@hypercall(RAISE, "raise")
def raise_error(machine) -> int:  # noqa: ARG001
    raise ZeroDivisionError


class RingGuest:
    """The guest's side of a ring, as abi.py says it is to be written."""

    def __init__(self, machine, gpa=GPA, entries=ENTRIES, port=PORT):
        self.machine, self.gpa, self.entries = machine, gpa, entries
        self.looked_at = 0
        machine.memory.write(gpa, bytes(LAYOUT.size_bytes))
        self.number = machine.ask("ring_open", gpa, entries, port)

    def get(self, field):
        return self.machine.memory.read_uint(self.gpa + LAYOUT.offset(field), 4)

    def set(self, field, value):
        self.machine.memory.write_uint(self.gpa + LAYOUT.offset(field), 4, value % (1 << 32))

    def put(self, number, *arguments, token=0, at=None):
        """Write a call at index `at`, submit_tail where that is left out."""
        at = self.get("submit_tail") if at is None else at
        words = [number, *arguments, *[0] * (6 - len(arguments)), token]
        self.machine.memory.write(self.gpa + LAYOUT.size_bytes + at % self.entries * 64, CALL.pack(*words))

    def submit(self, number, *arguments, token=0):
        self.put(number, *arguments, token=token)
        self.set("submit_tail", self.get("submit_tail") + 1)

    def kick_is_needed(self):
        old, self.looked_at = self.looked_at, self.get("submit_tail")
        return passes(self.get("kick_at"), old, self.looked_at)

    def kick(self):
        return self.machine.ask("ring_kick", self.number)

    def reap(self):
        """All (token, result) that completed."""
        found, first = [], self.gpa + LAYOUT.size_bytes + self.entries * 64
        while (head := self.get("complete_head")) != self.get("complete_tail"):
            found.append(DONE.unpack(self.machine.memory.read(first + head % self.entries * 16, 16)))
            self.set("complete_head", head + 1)
        return found

    def notified(self):
        """Whether the port was raised since this was asked last."""
        pending = self.machine.memory.view[PAGE + PENDING]
        self.machine.memory.view[PAGE + PENDING] = 0
        return bool(pending & 1)


def boot(machine):
    machine.add(core.PLUGIN, events.PLUGIN, multicall.PLUGIN, ring.PLUGIN, add, scribble, fail, fault, raise_error)
    machine.ask("event_page", PAGE, 0)
    assert machine.ask("event_open") == PORT
    return machine


@pytest.fixture
def booted(machine):
    return boot(machine)


@pytest.fixture
def guest(booted):
    return RingGuest(booted)


def pass_time(machine, ns):
    machine.vcpu.now_ns += ns
    if machine.clock.deadline_ns != NEVER and machine.clock.deadline_ns <= machine.vcpu.now_ns:
        machine.clock.fire()


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


@pytest.mark.parametrize(
    ("field", "value"),
    [("submit_tail", ENTRIES + 1), ("submit_tail", -1), ("submit_tail", 1 << 31), ("complete_head", 1)]
    + [("complete_head", 1 << 31), ("complete_head", -ENTRIES - 1)],
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
    def nested_kick(machine) -> int:
        return machine.vcpu.call(machine.call_numbers["ring_kick"], (0,))

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
