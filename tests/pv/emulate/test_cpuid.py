from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.dispatch import ANY_KEY
from pv.emulate.cpuid import EMPTY_LEAVES, HIDDEN, HYPERVISOR_PRESENT, MASKS, cpuid_row, guest_cpuid
from pv.exits import NEXT, Exit, Reason
from tests.pv.emulate.recording_vcpu import CPUID, Guest

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(("leaf", "register", "bits"), [line[:3] for line in HIDDEN])
def test_hidden_bits_are_clear_and_only_those(guest: Guest, leaf: int, register: int, bits: dict[str, int]) -> None:
    value = guest_cpuid(guest.vcpu, hypervisor=False)(leaf, 0)[register]
    assert [name for name, bit in bits.items() if value >> bit & 1] == []
    others = {bit for other in HIDDEN if other[:2] == (leaf, register) for bit in other[2].values()}
    assert value == ALL & ~sum(1 << bit for bit in others)


def test_no_bit_is_hidden_twice() -> None:
    bits = [(leaf, register, bit) for leaf, register, names, _why in HIDDEN for bit in names.values()]
    assert len(bits) == len(set(bits))


@pytest.mark.parametrize("leaf", EMPTY_LEAVES)
def test_empty_leaves(guest: Guest, leaf: int) -> None:
    assert guest_cpuid(guest.vcpu, hypervisor=False)(leaf, 1) == (0, 0, 0, 0)


@pytest.mark.parametrize("hypervisor", [False, True])
def test_only_a_guest_that_is_to_know_is_told(guest: Guest, hypervisor: bool) -> None:
    cpuid = guest_cpuid(guest.vcpu, hypervisor=hypervisor)
    assert bool(cpuid(1, 0)[2] & HYPERVISOR_PRESENT) is hypervisor
    assert cpuid(0x4000_0000, 0) == (0, 0, 0, 0)


@pytest.mark.parametrize("local_apic", [False, True])
def test_the_apic_bit_says_whether_there_is_one(guest: Guest, local_apic: bool) -> None:
    cpuid = guest_cpuid(guest.vcpu, hypervisor=False, local_apic=local_apic)
    assert [cpuid(leaf, 0)[3] >> 9 & 1 for leaf in (1, 0x8000_0001)] == [local_apic] * 2


def test_other_leaves_are_the_processors(guest: Guest) -> None:
    assert guest_cpuid(guest.vcpu, hypervisor=False)(0x8000_0000, 0) == CPUID[0x8000_0000]


def test_the_row_fills_four_registers(guest: Guest) -> None:
    guest.vcpu.rbx = (1 << 64) - 1
    row = cpuid_row(guest.vcpu, lambda leaf, subleaf: (leaf, subleaf, 3, 4), "test")
    assert (row.reason, row.first, row.last) == (Reason.CPUID, ANY_KEY, ANY_KEY)
    guest.vcpu.rcx = 0xAAAA_0000_0002
    assert row.handler(Exit(Reason.CPUID, 7)) is NEXT
    assert (guest.vcpu.rax, guest.vcpu.rbx, guest.vcpu.rcx, guest.vcpu.rdx) == (7, 2, 3, 4)


@settings(deadline=None)
@given(st.integers(0, ALL), st.integers(0, ALL))
def test_every_leaf_fits_its_registers(leaf: int, subleaf: int) -> None:
    guest = Guest()
    values = guest_cpuid(guest.vcpu, hypervisor=True)(leaf, subleaf)
    assert all(0 <= value <= ALL for value in values)
    guest.memory.close()


def test_masks_are_unsigned() -> None:
    assert all(0 <= part <= ALL for mask in MASKS.values() for part in mask)


@pytest.mark.parametrize("local_apic", [False, True])
def test_x2apic_is_offered_with_its_topology_and_without_a_deadline(guest: Guest, local_apic: bool) -> None:
    cpuid = guest_cpuid(guest.vcpu, hypervisor=False, local_apic=local_apic)
    ecx = cpuid(1, 0)[2]
    assert (ecx >> 21 & 1, ecx >> 24 & 1) == (local_apic, 0)
    levels = [cpuid(0xB, subleaf) for subleaf in (0, 1, 2, 0x105)]
    one_each = [(0, 1, 0x100, 0), (0, 1, 0x201, 0), (0, 0, 2, 0), (0, 0, 5, 0)]
    assert levels == (one_each if local_apic else [(0, 0, 0, 0)] * 4)
