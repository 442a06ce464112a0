# ruff: noqa: PT017 (a refusal is one of the answers that are right: pytest.raises would demand it)
from errno import EFAULT, EINVAL, ENOSPC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls import events
from hypercalls.events import raise_port
from pv.exits import WAIT, GuestError

PAGE = 0x5000
RIP = 0x10_0000
FIELDS = abi.STRUCT_BY_NAME["event_page"]
REQUEST = ("request_interrupt",)


@pytest.fixture
def booted(machine):
    machine.add(events.PLUGIN)
    assert machine.ask("event_page", PAGE, RIP) == 0
    assert machine.vcpu.told == [("set_event_page", PAGE, RIP)]
    machine.vcpu.told.clear()
    return machine


def bit(machine, field, port):
    return machine.memory.read(PAGE + FIELDS.offset(field) + port // 8, 1)[0] >> port % 8 & 1


def upcall_pending(machine):
    return machine.memory.read_uint(PAGE + FIELDS.offset("upcall_pending"), 1)


@pytest.mark.parametrize(
    ("registers", "errno"),
    [((PAGE + 8, RIP), EINVAL), ((1 << 20, RIP), EFAULT), ((PAGE, 1 << 47), EINVAL), (((1 << 64) - 4096, RIP), EFAULT)],
)
def test_pages_that_are_refused(machine, registers, errno):
    machine.add(events.PLUGIN)
    assert machine.errno("event_page", *registers) == errno
    assert machine.vcpu.told == []


@pytest.mark.parametrize(
    ("call", "registers"),
    [
        ("event_open", ()),
        ("event_close", (0,)),
        ("event_send", (0,)),
        ("event_mask", (0, 1)),
        ("event_wait", ()),
        ("event_deliver", ()),
    ],
)
def test_nothing_works_before_there_is_a_page(machine, call, registers):
    machine.add(events.PLUGIN)
    assert machine.errno(call, *registers) == EINVAL
    assert not raise_port(machine, 0)


def test_open_gives_the_lowest_free_port(booted):
    assert [booted.ask("event_open") for _ in range(3)] == [0, 1, 2]
    assert booted.ask("event_close", 1) == 0
    assert [booted.ask("event_open") for _ in range(2)] == [1, 3]


def test_ports_run_out(booted):
    assert [booted.ask("event_open") for _ in range(abi.EVENT_PORTS)] == list(range(abi.EVENT_PORTS))
    assert booted.errno("event_open") == ENOSPC


@pytest.mark.parametrize("port", [1, 1023, 1024, 0xFFFF_FFFF])
def test_ports_that_are_not_open(booted, port):
    booted.ask("event_open")
    for call, registers in [("event_close", (port,)), ("event_send", (port,)), ("event_mask", (port, 0))]:
        assert booted.errno(call, *registers) == EINVAL
    assert not raise_port(booted, port)
    assert not raise_port(booted, -1)
    assert booted.vcpu.told == []


def test_send_makes_pending_and_asks_for_the_upcall(booted):
    booted.ask("event_open")
    assert booted.ask("event_send", 0) == 0
    assert (bit(booted, "pending", 0), upcall_pending(booted)) == (1, 1)
    assert booted.vcpu.told == [REQUEST]


def test_one_upcall_answers_what_is_pending(booted):
    for port in range(2):
        booted.ask("event_open")
        booted.ask("event_send", port)
    assert booted.vcpu.acknowledge() == 0x20
    assert upcall_pending(booted) == 0
    assert booted.vcpu.acknowledge() == -1
    booted.ask("event_send", 0)
    assert booted.vcpu.acknowledge() == 0x20


def test_nothing_to_acknowledge_once_the_guest_took_the_event(booted):
    booted.ask("event_open")
    booted.ask("event_send", 0)
    booted.memory.write(PAGE + FIELDS.offset("pending"), b"\0")
    assert booted.vcpu.acknowledge() == -1


def test_a_masked_port_waits_until_it_is_unmasked(booted):
    booted.ask("event_open")
    assert booted.ask("event_mask", 0, 1) == 0
    assert booted.ask("event_send", 0) == 0
    assert (bit(booted, "pending", 0), upcall_pending(booted), booted.vcpu.told) == (1, 0, [])
    assert booted.ask("event_mask", 0, 0) == 0
    assert (bit(booted, "mask", 0), upcall_pending(booted), booted.vcpu.told) == (0, 1, [REQUEST])


def test_masked_is_one_or_zero(booted):
    booted.ask("event_open")
    assert booted.errno("event_mask", 0, 2) == EINVAL


def test_close_forgets_what_was_pending(booted):
    booted.ask("event_open")
    booted.ask("event_send", 0)
    booted.ask("event_mask", 0, 1)
    booted.ask("event_close", 0)
    assert (bit(booted, "pending", 0), bit(booted, "mask", 0)) == (0, 0)


def test_open_forgets_what_the_page_claims(booted):
    booted.memory.write(PAGE + FIELDS.offset("pending"), b"\xff" * 256)
    booted.ask("event_open")
    assert booted.ask("event_wait") is WAIT


def test_wait_returns_at_once_where_one_is_pending(booted):
    booted.ask("event_open")
    booted.ask("event_send", 0)
    assert booted.ask("event_wait") == 0
    assert not booted.row("event_wait").batchable


def test_wait_sleeps_with_its_result_in_place(booted):
    assert booted.ask("event_wait") is WAIT
    assert booted.vcpu.rax == 0


def test_an_event_that_was_taken_without_its_upcall_does_not_end_the_next_wait(booted):
    booted.ask("event_open")
    booted.ask("event_send", 0)
    booted.memory.write(PAGE + FIELDS.offset("pending"), b"\0")
    assert booted.ask("event_wait") is WAIT
    assert booted.vcpu.told == [REQUEST, ("withdraw_interrupt",)]


def test_who_asked_is_told_of_a_closed_port(booted):
    closed = []
    events.on_close(booted, lambda _machine, port: closed.append(port))
    booted.ask("event_open")
    booted.ask("event_close", 0)
    assert booted.errno("event_close", 0) == EINVAL
    assert closed == [0]


def test_deliver_asks_for_what_is_due(booted):
    booted.ask("event_open")
    assert booted.ask("event_deliver") == 0
    assert booted.vcpu.told == []
    booted.memory.write(PAGE + FIELDS.offset("pending"), b"\x01")
    assert booted.ask("event_deliver") == 0
    assert (booted.vcpu.told, upcall_pending(booted)) == ([REQUEST], 1)


def test_a_device_raises_a_port(booted):
    booted.ask("event_open")
    assert raise_port(booted, 0)
    assert booted.vcpu.told == [REQUEST]


def test_ports_stay_open_on_a_new_page(booted):
    booted.ask("event_open")
    assert booted.ask("event_page", PAGE + 0x1000, RIP) == 0
    assert booted.ask("event_send", 0) == 0
    assert booted.memory.read(PAGE + 0x1000 + FIELDS.offset("pending"), 1) == b"\x01"
    assert bit(booted, "pending", 0) == 0


PORT = st.integers(0, 9) | st.sampled_from([1023, 1024, 0xFFFF_FFFF])
STEP = st.one_of(
    st.tuples(st.sampled_from(["event_open", "event_deliver", "event_wait"])),
    st.tuples(st.sampled_from(["event_close", "event_send"]), PORT),
    st.tuples(st.just("event_mask"), PORT, st.integers(0, 3)),
    st.tuples(st.just("scribble"), st.binary(min_size=300, max_size=300)),
)


@given(st.lists(STEP, max_size=30))
def test_a_hostile_page_touches_nothing_beside_it(make_machine, steps):
    machine = make_machine().add(events.PLUGIN)
    machine.ask("event_page", machine.memory.size_bytes - 4096, RIP)
    for name, *rest in steps:
        try:
            if name == "scribble":
                machine.memory.write(machine.memory.size_bytes - 4096, rest[0])
            else:
                machine.ask(name, *rest)
        except GuestError as error:
            assert error.errno == EINVAL
        assert machine.vcpu.acknowledge() in (-1, 0x20)
    before = machine.memory.read(machine.memory.size_bytes - 8192, 4096)
    after = machine.memory.read(machine.memory.size_bytes - 4096 + 300, 4096 - 300)
    assert not any(before)
    assert not any(after)
    machine.memory.close()
