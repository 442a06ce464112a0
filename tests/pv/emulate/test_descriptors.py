from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pv.emulate.architecture import canonical
from pv.emulate.descriptors import LDT, TSS_AVAILABLE, SystemDescriptor, selector_error, system_descriptor
from pv.engines.base import GuestFault
from tests.pv.emulate.recording_vcpu import GDT, Guest, descriptor


def fault_of(guest: Guest, selector: int, wanted: int = LDT) -> tuple[int, int | None]:
    with pytest.raises(GuestFault) as caught:
        system_descriptor(guest.vcpu, selector, wanted)
    return caught.value.vector, caught.value.error_code


@settings(deadline=None)
@given(
    base=st.integers(0, (1 << 64) - 1).filter(canonical),
    limit=st.integers(0, (1 << 20) - 1),
    dpl=st.integers(0, 3),
    pages=st.booleans(),
    wanted=st.sampled_from([LDT, TSS_AVAILABLE]),
)
def test_fields_come_back(base: int, limit: int, dpl: int, pages: bool, wanted: int) -> None:
    guest = Guest()
    raw = descriptor(base, limit, wanted | dpl << 5 | 0x80, 8 if pages else 0, size=16)
    guest.memory.write(GDT + 0x20, raw)
    found = system_descriptor(guest.vcpu, 0x23, wanted)
    assert found == SystemDescriptor(GDT + 0x20, base, limit << 12 | 0xFFF if pages else limit)
    guest.memory.close()


@pytest.mark.parametrize("access", range(0x100))
def test_one_type_alone_is_taken(guest: Guest, access: int) -> None:
    guest.memory.write(GDT + 8, descriptor(access=access, size=16))
    if access & 0x1F != TSS_AVAILABLE:
        assert fault_of(guest, 8, TSS_AVAILABLE) == (13, 8)
    elif not access & 0x80:
        assert fault_of(guest, 8, TSS_AVAILABLE) == (11, 8)
    else:
        assert system_descriptor(guest.vcpu, 8, TSS_AVAILABLE).base == 0


@pytest.mark.parametrize(("limit", "inside"), [(0x17, True), (0x16, False), (0xF, False), (0, False)])
def test_the_whole_descriptor_lies_within_the_limit(guest: Guest, limit: int, inside: bool) -> None:
    guest.virtual.gdt_limit = limit
    guest.memory.write(GDT + 8, descriptor(access=0x82, size=16))
    if inside:
        assert system_descriptor(guest.vcpu, 8, LDT).gva == GDT + 8
    else:
        assert fault_of(guest, 8) == (13, 8)


def test_an_upper_half_with_a_type_is_no_descriptor(guest: Guest) -> None:
    guest.memory.write(GDT + 8, descriptor(access=0x82) * 2)
    assert fault_of(guest, 8) == (13, 8)


def test_a_base_that_is_not_canonical(guest: Guest) -> None:
    guest.memory.write(GDT + 8, descriptor(1 << 47, access=0x82, size=16))
    assert fault_of(guest, 8) == (13, 8)


def test_the_local_table_holds_no_system_segments(guest: Guest) -> None:
    assert fault_of(guest, 0xC) == (13, 0xC)


def test_a_table_outside_memory_is_a_page_fault(guest: Guest) -> None:
    guest.virtual.gdt_base = (1 << 64) - 8
    assert fault_of(guest, 0)[0] == 14


def test_error_codes_leave_the_rpl_out() -> None:
    assert selector_error(0x2B) == 0x28
    assert selector_error(0x2F) == 0x2C
