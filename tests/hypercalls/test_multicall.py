# ruff: noqa: ARG001 (handlers are written to be registered, not to use what they take)
import struct
from errno import E2BIG, EFAULT, EINVAL, ENOSYS

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls import core, cpu, events, memory, multicall
from hypercalls.arguments import U8
from hypercalls.call import hypercall
from pv.exits import GuestError

ENTRY = struct.Struct("<8Q")
GPA = 0x4000
MASK = (1 << 64) - 1


@hypercall(0x8001, "subtract")
def subtract(machine, a: int, b: U8) -> int:
    return a - b


@hypercall(0x8002, "scribble")
def scribble(machine) -> int:
    machine.memory.write(GPA, b"\xee" * 256)
    return 0


@pytest.fixture
def booted(machine):
    return machine.add(core.PLUGIN, cpu.PLUGIN, memory.PLUGIN, events.PLUGIN, multicall.PLUGIN, subtract, scribble)


def put_entries(machine, *entries, gpa=GPA):
    padded = [(number, *arguments, *[0] * (6 - len(arguments)), 0x5555) for number, *arguments in entries]
    machine.memory.write(gpa, b"".join(ENTRY.pack(*entry) for entry in padded))
    return gpa, len(entries)


def results(machine, count, gpa=GPA):
    found = [machine.memory.read_uint(gpa + 64 * index + 56, 8) for index in range(count)]
    return [value - (1 << 64) if value >> 63 else value for value in found]


def test_each_result_goes_to_its_entry(booted):
    assert booted.ask("multicall", *put_entries(booted, (0x1000,), (0x8001, 9, 4), (0x8001, 1, 4))) == 3
    assert results(booted, 3) == [abi.VERSION, 5, -3]


def test_only_the_result_is_written(booted):
    gpa, count = put_entries(booted, (0x8001, 9, 4, 1, 2, 3, 4))
    before = booted.memory.read(gpa - 64, 64 * 3)
    booted.ask("multicall", gpa, count)
    after = bytearray(booted.memory.read(gpa - 64, 64 * 3))
    after[64 + 56 : 128] = before[64 + 56 : 128]
    assert bytes(after) == before


def test_unaligned_entries(booted):
    assert booted.ask("multicall", *put_entries(booted, (0x8001, 9, 4), gpa=GPA + 3)) == 1
    assert results(booted, 1, GPA + 3) == [5]


def test_errors_are_results_like_others(booted):
    assert booted.ask("multicall", *put_entries(booted, (0x9999,), (0x8001, 1, 256), (0x1035, 0))) == 3
    assert results(booted, 3) == [-ENOSYS, -EINVAL, -EINVAL]


def test_a_call_that_the_vcpu_refuses_is_one_entry_s_answer(booted):
    def refuse(number, arguments, answer=booted.vcpu.call):
        if number == 0x8002:
            raise GuestError(EINVAL)
        return answer(number, arguments)

    booted.vcpu.call = refuse
    assert booted.ask("multicall", *put_entries(booted, (0x8002,), (0x1000,))) == 2
    assert results(booted, 2) == [-EINVAL, abi.VERSION]


@pytest.mark.parametrize("name", ["multicall", "exit", "return_from_event", "event_wait"])
def test_calls_that_move_control_flow_are_refused_in_their_entry(booted, name):
    booted.ask("event_page", 0x5000, 0)
    booted.vcpu.told.clear()
    assert booted.ask("multicall", *put_entries(booted, (booted.call_numbers[name], GPA, 1), (0x1000,))) == 2
    assert results(booted, 2) == [-EINVAL, abi.VERSION]
    assert booted.vcpu.told == []


def test_entries_are_those_that_were_copied_in(booted):
    assert booted.ask("multicall", *put_entries(booted, (0x8002,), (0x8001, 9, 4))) == 2
    assert results(booted, 2) == [0, 5]


def test_bounds(booted):
    assert booted.ask("multicall", 0, 0) == 0
    assert booted.errno("multicall", 0, abi.MULTICALL_MOST + 1) == E2BIG
    assert booted.errno("multicall", 0, MASK) == E2BIG
    assert booted.errno("multicall", (1 << 20) - 64, 2) == EFAULT
    assert booted.errno("multicall", MASK, 1) == EFAULT


def test_what_ends_the_batch_leaves_results_so_far_and_memory_free(booted):
    def stop_at_second(number, arguments, answer=booted.vcpu.call):
        if number == 0x8002:
            raise TimeoutError
        return answer(number, arguments)

    booted.vcpu.call = stop_at_second
    with pytest.raises(TimeoutError):
        booted.ask("multicall", *put_entries(booted, (0x1000,), (0x8002,)))
    assert results(booted, 2) == [abi.VERSION, 0x5555]


WORD = st.sampled_from([0, 1, GPA, *[call.number for call in abi.CALLS], 1 << 20, 1 << 32, MASK]) | st.integers(0, MASK)


@given(entries=st.lists(st.tuples(*[WORD] * 7), max_size=5), at=st.integers(0, 4096))
def test_any_entries_are_answered(make_machine, entries, at):
    machine = make_machine().add(core.PLUGIN, memory.PLUGIN, cpu.PLUGIN, events.PLUGIN, multicall.PLUGIN)
    gpa = machine.memory.size_bytes - 64 * 5 - at
    try:
        assert machine.ask("multicall", *put_entries(machine, *entries, gpa=gpa)) == len(entries)
    except GuestError as error:
        pytest.fail(f"multicall itself was refused: {error}")
    assert all(-4095 <= result < 1 << 63 for result in results(machine, len(entries), gpa))
    machine.memory.close()
