# ruff: noqa: PT017 (a refusal is one of the answers that are right: pytest.raises would demand it)
import struct
from errno import E2BIG, EFAULT, EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import Guest
from hypercalls import cpu
from pv.dispatch import ANY_KEY, Row
from pv.engines.base import GuestFault
from pv.exits import AGAIN, NEXT, GuestError, Reason, fault
from pv.machine import Machine

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
    assert not booted.row("return_from_event").batchable


def test_the_guest_s_fault_on_return_is_the_engine_s_to_inject(booted):
    def broken():
        raise GuestFault(13, 0)

    booted.vcpu.interrupt_return = broken
    with pytest.raises(GuestFault):
        booted.ask("return_from_event")


REGISTERS = 0x3000


def ask_cpuid(machine, leaf, subleaf=0):
    assert machine.ask("cpuid", leaf, subleaf, REGISTERS) == 0
    return struct.unpack("<IIII", machine.memory.read(REGISTERS, 16))


def answers_cpuid(machine, reply):
    """The row that answers every leaf, as a technique brings it."""

    def handle(exit_):
        vcpu = machine.vcpu
        vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx = exit_.key, vcpu.rcx, 3, 4
        return reply

    return Row(Reason.CPUID, ANY_KEY, ANY_KEY, handle, "test", "CPUID")


def test_cpuid_answers_as_the_instruction_s_row_does_and_keeps_registers(booted):
    booted.table.add(answers_cpuid(booted, NEXT))
    assert ask_cpuid(booted, 0x8000_0001, 7) == (0x8000_0001, 7, 3, 4)
    vcpu = booted.vcpu
    assert (vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx) == (0xDEAD,) * 4


def test_cpuid_that_is_refused(booted):
    assert booted.errno("cpuid", 1, 0, REGISTERS) == EINVAL
    booted.table.add(answers_cpuid(booted, fault(13, 0)))
    assert booted.errno("cpuid", 1, 0, REGISTERS) == EINVAL
    assert booted.vcpu.rax == 0xDEAD


def test_cpuid_s_registers_go_into_memory_only(booted):
    booted.table.add(answers_cpuid(booted, NEXT))
    assert booted.errno("cpuid", 1, 0, (1 << 20) - 15) == EFAULT
    assert booted.errno("cpuid", 1, 0, (1 << 64) - 1) == EFAULT


@pytest.mark.parametrize("leaf", [0, 1, 7, 0x4000_0000, 0x4000_0001, 0x4000_0002, 0x8000_0008])
def test_a_guest_is_told_the_same_by_call_and_by_instruction(leaf):
    guest = Guest("cpuid", paravirt=True).bss("told", 16)
    guest.asm("main:")
    guest.call.cpuid(leaf, 0, "told")
    guest.asm(f"mov eax, {leaf}\nxor ecx, ecx\ncpuid")
    for field, register in (("EAX", "eax"), ("EBX", "ebx"), ("ECX", "ecx"), ("EDX", "edx")):
        guest.asm(f"cmp {register}, [told + CPUID_REGISTERS_{field}]\njne differs")
    guest.asm("xor eax, eax\nret\ndiffers: mov eax, 1\nret")
    with Machine() as machine:
        machine.load(guest.build())
        outcome = machine.run(timeout=10)
        assert (outcome.status, outcome.exits["CPUID"]) == (0, 1)
