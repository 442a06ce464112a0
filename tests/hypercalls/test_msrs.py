import struct
from errno import EFAULT, EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import Guest
from hypercalls import cpu, msrs
from pv.emulate.msrs import EFER_INDEX, MSRS, TSC_INDEX
from pv.exits import GuestError
from pv.machine import Machine

VALUE = 0x3000
HOLE = 1 << 47


@pytest.fixture
def booted(machine):
    return machine.add(cpu.PLUGIN)


def read(machine, index):
    assert machine.ask("msr_read", index, VALUE) == 0
    return machine.memory.read_uint(VALUE, 8)


def test_indices_are_the_architecture_s():
    names = {msr.index: msr.name for msr in MSRS}
    assert [names[index] for index in msrs.BASES] == ["IA32_FS_BASE", "IA32_GS_BASE", "IA32_KERNEL_GS_BASE"]


def test_bases_are_those_of_the_processor(booted):
    for index in msrs.BASES:
        assert booted.ask("msr_write", index, 0x1000 + index) == 0
        assert read(booted, index) == 0x1000 + index
    vcpu = booted.vcpu
    bases = (vcpu.fs_base, vcpu.gs_base, vcpu.virtual.kernel_gs_base)
    assert bases == (0x1000 + msrs.FS_BASE, 0x1000 + msrs.GS_BASE, 0x1000 + msrs.KERNEL_GS_BASE)


def test_the_time_stamp_is_virtual_time(booted):
    booted.vcpu.now_ns = 1 << 40
    assert read(booted, TSC_INDEX) == 1 << 40


@pytest.mark.parametrize("index", [0, 0x1B, 0xC000_0082, 0xFFFF_FFFF])
def test_unknown_registers_are_refused(booted, index):
    assert booted.errno("msr_read", index, VALUE) == EINVAL
    assert booted.errno("msr_write", index, 0) == EINVAL


@pytest.mark.parametrize("index", [TSC_INDEX, EFER_INDEX])
def test_registers_that_are_read_only(booted, index):
    assert booted.errno("msr_write", index, 0) == EINVAL


@pytest.mark.parametrize("value", [HOLE, (1 << 64) - HOLE - 1])
def test_addresses_in_the_hole(booted, value):
    booted.ask("msr_write", msrs.FS_BASE, 0x7000)
    assert booted.errno("msr_write", msrs.FS_BASE, value) == EINVAL
    assert booted.vcpu.fs_base == 0x7000


@pytest.mark.parametrize("gpa", [(1 << 20) - 7, (1 << 64) - 8])
def test_values_go_into_memory_only(booted, gpa):
    assert booted.errno("msr_read", msrs.FS_BASE, gpa) == EFAULT


@given(st.integers(0, (1 << 32) - 1) | st.sampled_from([*msrs.READ]), st.integers(0, (1 << 64) - 1))
def test_any_index_and_value_is_answered(make_machine, index, value):
    machine = make_machine().add(cpu.PLUGIN)
    try:
        machine.ask("msr_write", index, value)
        written = True
    except GuestError as error:
        written = error.errno != EINVAL
    if written:
        assert read(machine, index) == value
    machine.memory.close()


def test_a_guest_reads_what_its_instructions_use():
    guest = Guest("msrs", paravirt=True).bss("value", 8).quads("there", [0x1234])
    guest.asm("main:")
    guest.call.msr_write(msrs.GS_BASE, "there")
    guest.call.msr_read(msrs.GS_BASE, "value")
    guest.asm("mov rax, gs:[0]\nsub rax, 0x1234\nret")
    with Machine() as machine:
        machine.load(guest.build())
        assert machine.run(timeout=10).status == 0
        machine.vcpu.call(machine.call_numbers["msr_read"], (EFER_INDEX, VALUE))
        assert struct.unpack("<Q", machine.memory.read(VALUE, 8)) == (machine.vcpu.virtual.efer,)
