# ruff: noqa: PT017 (a refusal is one of the answers that are right: pytest.raises would demand it)
import struct
from errno import E2BIG, EFAULT, EINVAL, ENOMEM

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls import memory
from pv.exits import GuestError

UPDATE = struct.Struct("<IIQQQ")
UPDATES_GPA = 0x2000
GOOD = (3, 1, 0x40_0000, 0x1000, 2)


@pytest.fixture
def booted(machine):
    return machine.add(memory.PLUGIN)


def put_updates(machine, *updates):
    machine.memory.write(UPDATES_GPA, b"".join(UPDATE.pack(*update) for update in updates))
    return UPDATES_GPA, len(updates)


def test_size(booted):
    assert booted.ask("memory_size") == 1 << 20


def test_map_and_unmap_act_on_the_running_space(booted):
    booted.vcpu.tables.active = 5
    assert booted.ask("map", 0x40_0000, 0x1000, 2, 3) == 2
    assert booted.ask("unmap", 0x40_0000, 2) == 2
    assert booted.vcpu.told == [("map", 5, 0x40_0000, 0x1000, 2, 3), ("unmap", 5, 0x40_0000, 2)]


@pytest.mark.parametrize(
    ("registers", "errno"),
    [
        ((0x40_0001, 0, 1, 1), EINVAL),
        ((0x40_0000, 1, 1, 1), EINVAL),
        ((0x40_0000, 0, 1, 0), EINVAL),
        ((0x40_0000, 0, 1, 2), EINVAL),
        ((0x40_0000, 0, 1, 0x11), EINVAL),
        ((1 << 47, 0, 1, 1), EINVAL),
        (((1 << 47) - 4096, 0, 2, 1), EINVAL),
        (((1 << 64) - 4096, 0, 2, 1), EINVAL),
        ((0x40_0000, 1 << 20, 1, 1), EFAULT),
        ((0x40_0000, (1 << 20) - 4096, 2, 1), EFAULT),
        ((0x40_0000, 0, 1 << 52, 1), E2BIG),
    ],
)
def test_mappings_that_are_refused(booted, registers, errno):
    assert booted.errno("map", *registers) == errno
    assert booted.vcpu.told == []


def test_unmap_is_bounded(booted):
    assert booted.errno("unmap", 0, 1 << 52) == E2BIG
    assert booted.errno("unmap", 8, 1) == EINVAL


def test_spaces(booted):
    space = booted.ask("space_create")
    assert booted.ask("space_switch", space) == 0
    assert booted.errno("space_destroy", space) == EINVAL
    assert booted.ask("space_switch", 0) == 0
    assert booted.ask("space_destroy", space) == 0
    assert booted.vcpu.told == [("create",), ("activate", 7), ("activate", 0), ("destroy", 7)]


def test_the_boot_space_stays(booted):
    booted.vcpu.tables.active = 7
    assert booted.errno("space_destroy", 0) == EINVAL


def test_updates_map_and_unmap_in_their_spaces(booted):
    assert booted.ask("page_update", *put_updates(booted, GOOD, (4, 0, 0x40_0000, 0, 2))) == 2
    assert booted.vcpu.told == [("map", 3, 0x40_0000, 0x1000, 2, 1), ("unmap", 4, 0x40_0000, 2)]


def test_no_updates(booted):
    assert booted.ask("page_update", 0, 0) == 0


BAD = [(3, 1, 0x40_0001, 0, 1), (3, 0x80, 0x40_0000, 0, 1), (3, 0, 1 << 50, 0, 1)]


@pytest.mark.parametrize("bad", BAD)
def test_the_first_bad_update_ends_the_batch(booted, bad):
    assert booted.ask("page_update", *put_updates(booted, GOOD, bad, GOOD)) == 1
    assert len(booted.vcpu.told) == 1
    assert booted.errno("page_update", *put_updates(booted, bad, GOOD)) == EINVAL


def test_what_the_tables_refuse_ends_the_batch_too(booted):
    booted.vcpu.tables.refused = {0x80_0000: ENOMEM}
    full = (3, 1, 0x80_0000, 0, 1)
    assert booted.ask("page_update", *put_updates(booted, GOOD, full)) == 1
    assert booted.errno("page_update", *put_updates(booted, full)) == ENOMEM


def test_too_many_updates(booted):
    assert booted.errno("page_update", UPDATES_GPA, abi.UPDATES_MOST + 1) == E2BIG
    assert booted.errno("page_update", (1 << 20) - 40, 2) == EFAULT


FIELD = st.sampled_from([0, 1, 4096, 0x40_0000, 1 << 47, (1 << 64) - 4096, (1 << 64) - 1]) | st.integers(
    0, (1 << 64) - 1
)
SMALL = st.integers(0, (1 << 32) - 1) | st.integers(0, 20)


@given(st.lists(st.tuples(SMALL, SMALL, FIELD, FIELD, FIELD), max_size=6))
def test_whatever_the_updates_only_sound_ones_reach_the_tables(make_machine, updates):
    machine = make_machine().add(memory.PLUGIN)
    try:
        done = machine.ask("page_update", *put_updates(machine, *updates))
    except GuestError as error:
        done = 0
        assert error.errno in (EINVAL, EFAULT, E2BIG)
    assert done == len(machine.vcpu.told)
    for verb, _, gva, *rest in machine.vcpu.told:
        assert gva % 4096 == 0
        if verb == "map":
            gpa, pages, flags = rest
            assert gpa + pages * 4096 <= machine.memory.size_bytes
            assert flags in range(1, 16, 2)
    machine.memory.close()
