import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_sdk import abi
from hypercalls import console, core
from hypercalls.personalities import pvkit
from pv.exits import NEXT, Exit, Reason, fault

MSR = abi.HYPERCALL_PAGE_MSR


@pytest.fixture
def booted(machine):
    return machine.add(core.PLUGIN, console.PLUGIN, pvkit.PLUGIN)


def answer(machine, reason, key, **more):
    return machine.table.find(reason, key).handler(Exit(reason, key, **more))


def cpuid(machine, leaf):
    assert answer(machine, Reason.CPUID, leaf) is NEXT
    vcpu = machine.vcpu
    return vcpu.rax, vcpu.rbx, vcpu.rcx, vcpu.rdx


def test_the_signature(booted):
    eax, *rest = cpuid(booted, 0x4000_0000)
    assert eax == 0x4000_0002
    assert b"".join(value.to_bytes(4, "little") for value in rest) == b"pvkitpvkitpv"


def test_features_are_those_that_the_call_gives(booted):
    assert cpuid(booted, 0x4000_0001) == (booted.ask("abi_features"), abi.VERSION, 0, 0)


def test_plugins_own_features_are_in_ecx(booted):
    booted.features = {"first": 32, "last": 62}
    eax, ebx, ecx, edx = cpuid(booted, 0x4000_0001)
    assert (ebx, ecx, edx) == (abi.VERSION, 1 << 30 | 1, 0)
    assert booted.ask("abi_features") == eax | 1 << 32 | 1 << 62


def test_the_hypercall_leaf_names_the_msr(booted):
    assert cpuid(booted, 0x4000_0002) == (1, MSR, 0, 0)


def test_other_leaves_are_not_ours(booted):
    assert booted.table.find(Reason.CPUID, 0x4000_0003) is None
    assert booted.table.find(Reason.CPUID, 0x3FFF_FFFF) is None


def read_msr(machine):
    assert answer(machine, Reason.MSR_READ, MSR) is NEXT
    return machine.vcpu.rdx << 32 | machine.vcpu.rax


def test_the_page_is_filled_and_remembered(booted):
    assert read_msr(booted) == 0
    assert answer(booted, Reason.MSR_WRITE, MSR, value=0x7000 | 1) is NEXT
    call = b"\x0f\x01\xc1\xc3"
    give_back = bytes.fromhex("4889c7 4889d6 b804100000 0f01c1")  # mov rdi, rax; mov rsi, rdx; mov eax, 0x1004; vmcall
    assert booted.memory.read(0x7000, 4096) == (call.ljust(64, b"\xcc") + give_back).ljust(4096, b"\xcc")
    assert booted.vcpu.told[-1] == ("set_call_return", 0x7040)
    assert booted.memory.read(0x8000, 1) == b"\0"
    assert read_msr(booted) == 0x7001
    assert answer(booted, Reason.MSR_WRITE, MSR, value=0) is NEXT
    assert read_msr(booted) == 0
    assert booted.vcpu.told[-1] == ("set_call_return", 0)


@given(value=st.integers(0, (1 << 64) - 1) | st.integers(0, 1 << 21))
def test_any_value_fills_a_page_or_faults(make_machine, value):
    machine = make_machine().add(pvkit.PLUGIN)
    reply = answer(machine, Reason.MSR_WRITE, MSR, value=value)
    sound = value == 0 or (value % 4096 == 1 and value < machine.memory.size_bytes)
    assert reply == (NEXT if sound else fault(13, 0))
    assert machine.state["pvkit"].value == (value if sound else 0)
    machine.memory.close()


@pytest.mark.parametrize("reason", [Reason.MSR_READ, Reason.MSR_WRITE])
def test_user_code_may_not(booted, reason):
    assert answer(booted, reason, MSR, value=0x7001, cpl=3) == fault(13, 0)
    assert booted.memory.read(0x7000, 1) == b"\0"
