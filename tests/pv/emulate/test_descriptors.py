from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.emulate.descriptors import Descriptor, read_descriptor, selector_error
from pv.engines.base import GuestFault
from tests.pv.emulate.recording_vcpu import GDT, LDT, Guest, descriptor


@settings(deadline=None)
@given(
    base=st.integers(0, (1 << 64) - 1),
    limit=st.integers(0, (1 << 20) - 1),
    kind=st.integers(0, 15),
    dpl=st.integers(0, 3),
    present=st.booleans(),
    pages=st.booleans(),
)
def test_fields_come_back(base: int, limit: int, kind: int, dpl: int, present: bool, pages: bool) -> None:
    guest = Guest()
    raw = descriptor(base, limit, kind | dpl << 5 | present << 7, 8 if pages else 0, size=16)
    guest.memory.write(GDT + 0x20, raw)
    found = read_descriptor(guest.vcpu, 0x23, 16)
    bytes_less_one = limit << 12 | 0xFFF if pages else limit
    assert found == Descriptor(GDT + 0x20, base, bytes_less_one, kind, True, dpl, present)
    guest.memory.close()


@pytest.mark.parametrize(("selector", "size_bytes", "inside"), [(0x08, 8, True), (0x10, 8, False), (0x08, 16, False)])
def test_the_whole_descriptor_lies_within_the_limit(guest: Guest, selector: int, size_bytes: int, inside: bool) -> None:
    guest.virtual.gdt_limit = 0xF
    guest.memory.write(GDT + 8, descriptor())
    if inside:
        assert read_descriptor(guest.vcpu, selector, size_bytes).present
    else:
        with pytest.raises(GuestFault) as caught:
            read_descriptor(guest.vcpu, selector, size_bytes)
        assert (caught.value.vector, caught.value.error_code) == (13, selector)


def test_the_local_table_answers_once_it_is_loaded(guest: Guest) -> None:
    guest.memory.write(LDT, descriptor(base=0x5000))
    guest.virtual.ldt_base, guest.virtual.ldt_limit = LDT, 7
    with pytest.raises(GuestFault):
        read_descriptor(guest.vcpu, 0x4, 8)
    guest.virtual.ldt_selector = 0x20
    assert read_descriptor(guest.vcpu, 0x4, 8).base == 0x5000
    with pytest.raises(GuestFault):
        read_descriptor(guest.vcpu, 0xC, 8)


def test_an_upper_half_with_a_type_is_no_descriptor(guest: Guest) -> None:
    guest.memory.write(GDT + 8, descriptor(size=8) * 2)
    with pytest.raises(GuestFault) as caught:
        read_descriptor(guest.vcpu, 8, 16)
    assert (caught.value.vector, caught.value.error_code) == (13, 8)


def test_a_table_outside_memory_is_a_page_fault(guest: Guest) -> None:
    guest.virtual.gdt_base = (1 << 64) - 8
    with pytest.raises(GuestFault) as caught:
        read_descriptor(guest.vcpu, 0, 8)
    assert caught.value.vector == 14


def test_error_codes_leave_the_rpl_out() -> None:
    assert selector_error(0x2B) == 0x28
    assert selector_error(0x2F) == 0x2C
