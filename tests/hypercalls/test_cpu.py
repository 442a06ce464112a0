# ruff: noqa: PT017 (a refusal is one of the answers that are right: pytest.raises would demand it)
import struct
from errno import E2BIG, EFAULT, EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercalls import cpu
from hypercalls.call import UNBATCHABLE
from pv.engines.base import GuestFault
from pv.exits import AGAIN, GuestError

TRAP = struct.Struct("<IIQ")
HOLE = 1 << 47
CANONICAL = [0, (1 << 47) - 1, (1 << 64) - (1 << 47), (1 << 64) - 1]


@pytest.fixture
def booted(machine):
    return machine.add(cpu.PLUGIN)


def put_traps(machine, *traps):
    machine.memory.write(0x1000, b"".join(TRAP.pack(*trap) for trap in traps))
    return 0x1000, len(traps)


def test_trap_table(booted):
    assert booted.ask("set_trap_table", *put_traps(booted, (14, 4, 0x10_0000), (0x80, 3, 0x10_0100), (3, 0, 0))) == 0
    assert booted.vcpu.told == [
        ("set_trap", 14, 0x10_0000, 4),
        ("set_trap", 0x80, 0x10_0100, 3),
        ("set_trap", 3, 0, 0),
    ]


@pytest.mark.parametrize("bad", [(256, 0, 0), (14, 8, 0), (14, 0, HOLE)])
def test_one_bad_trap_changes_nothing(booted, bad):
    assert booted.errno("set_trap_table", *put_traps(booted, (14, 0, 0x10_0000), bad)) == EINVAL
    assert booted.vcpu.told == []


def test_trap_tables_that_are_none(booted):
    assert booted.errno("set_trap_table", 0, 257) == E2BIG
    assert booted.errno("set_trap_table", (1 << 20) - 16, 2) == EFAULT
    assert booted.ask("set_trap_table", 0, 0) == 0


@given(st.binary(max_size=16 * 8))
def test_noise_sets_sound_traps_or_none(make_machine, noise):
    machine = make_machine().add(cpu.PLUGIN)
    machine.memory.write(0x1000, noise)
    try:
        machine.ask("set_trap_table", 0x1000, len(noise) // 16)
    except GuestError as error:
        assert error.errno == EINVAL
        assert machine.vcpu.told == []
    for _, vector, _, flags in machine.vcpu.told:
        assert vector < 256
        assert flags < 8
    machine.memory.close()


@pytest.mark.parametrize("call", ["set_kernel_stack", "set_syscall_entry"])
@pytest.mark.parametrize("address", CANONICAL)
def test_entries(booted, call, address):
    assert booted.ask(call, address) == 0
    assert booted.vcpu.told == [(call, address)]


@pytest.mark.parametrize("call", ["set_kernel_stack", "set_syscall_entry"])
@pytest.mark.parametrize("address", [HOLE, (1 << 64) - HOLE - 1])
def test_entries_in_the_hole(booted, call, address):
    assert booted.errno(call, address) == EINVAL
    assert booted.vcpu.told == []


def test_segment_bases(booted):
    for which in range(3):
        assert booted.ask("set_segment_base", which, 0x1000 + which) == 0
    vcpu = booted.vcpu
    assert (vcpu.fs_base, vcpu.gs_base, vcpu.virtual.kernel_gs_base) == (0x1000, 0x1001, 0x1002)


@pytest.mark.parametrize("registers", [(3, 0), (0, HOLE), (1, HOLE), (2, HOLE), (0xFFFF_FFFF, 0)])
def test_segment_bases_that_are_refused(booted, registers):
    assert booted.errno("set_segment_base", *registers) == EINVAL
    assert (booted.vcpu.fs_base, booted.vcpu.gs_base, booted.vcpu.virtual.kernel_gs_base) == (0, 0, 0)


def test_return_goes_where_the_state_points(booted):
    assert booted.ask("return_from_event") is AGAIN
    assert booted.vcpu.told == [("interrupt_return",)]
    assert booted.row("return_from_event").first in booted.state[UNBATCHABLE]


def test_the_guest_s_fault_on_return_is_the_engine_s_to_inject(booted):
    def broken():
        raise GuestFault(13, 0)

    booted.vcpu.interrupt_return = broken
    with pytest.raises(GuestFault):
        booted.ask("return_from_event")
