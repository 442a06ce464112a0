"""Guest memory by linear address from a handler's side: privilege, page ends, wild addresses, exact faults."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pv.engines.base import GuestFault
from pv.machine import Machine
from tests.pv.engines.unicorn_memory import paging_guest as guest
from tests.pv.engines.unicorn_memory.machines import BASE, PAGE, machine
from tests.pv.engines.unicorn_memory.paging_guest import fixed_entries, prepare

MEMORY = 16 << 20
ROOT, TABLES, DATA, WINDOW = 0x500000, 0x510000, 0x600000, 2 << 39
GP, PF = 13, 14
ENTRIES = (DATA | 3, DATA + 2 * PAGE | 3, DATA + PAGE | 1, 0, MEMORY | 3, 1 << 45 | 3, DATA + 3 * PAGE | 3 | 1 << 63)


@pytest.fixture(scope="module")
def trap() -> Iterator[Machine]:
    """A halted machine whose tables map the window as ENTRIES say."""
    with prepare([], ROOT) as made:
        made.memory.write(ROOT, struct.pack("<3Q", *fixed_entries(), TABLES | 0x67))
        made.memory.write_uint(TABLES, 8, TABLES + PAGE | 0x67)
        made.memory.write_uint(TABLES + PAGE, 8, TABLES + 2 * PAGE | 0x67)
        made.memory.write(TABLES + 2 * PAGE, struct.pack(f"<{len(ENTRIES)}Q", *ENTRIES))
        guest.finish(made)
        yield made


@pytest.fixture(scope="module")
def paravirt() -> Iterator[Machine]:
    """A machine that has not run yet, with a page mapped to read and a hole behind it."""
    with machine(b"\xf4", "paravirt") as made:
        made.vcpu.tables.map(0, WINDOW, DATA, 1, 1)
        made.vcpu.tables.map(0, WINDOW + 2 * PAGE, DATA, 1, 3)
        yield made


def fault_of(made: Machine, gva: int, size_bytes: int, *, write: bool) -> tuple[int, int | None]:
    access, what = (made.vcpu.write_linear, bytes(size_bytes)) if write else (made.vcpu.read_linear, size_bytes)
    with pytest.raises(GuestFault) as caught:
        access(gva, what)
    return caught.value.vector, caught.value.error_code


def test_an_access_over_a_pages_end_follows_both_pages(trap: Machine) -> None:
    trap.vcpu.write_linear(WINDOW + PAGE - 3, b"abcdef")
    assert trap.memory.read(DATA + PAGE - 3, 3) == b"abc"
    assert trap.memory.read(DATA + 2 * PAGE, 3) == b"def"
    assert trap.vcpu.read_linear(WINDOW + PAGE - 3, 6) == b"abcdef"


def test_a_write_that_faults_halfway_has_written_nothing(trap: Machine) -> None:
    before = trap.memory.read(DATA, 5 * PAGE)
    assert fault_of(trap, WINDOW + 2 * PAGE - 4, 8, write=True) == (PF, 3)
    assert trap.vcpu.virtual.cr2 == WINDOW + 2 * PAGE
    assert trap.memory.read(DATA, 5 * PAGE) == before


@pytest.mark.parametrize(
    ("page", "write", "fault"),
    [
        (2, True, (PF, 3)),
        (3, False, (PF, 0)),
        (3, True, (PF, 2)),
        (4, False, (GP, 0)),
        (5, False, (PF, 9)),
        (5, True, (PF, 11)),
        (511, False, (PF, 0)),
        (1 << 18, False, (PF, 0)),
    ],
)
def test_faults_have_the_codes_of_the_guests_tables(
    trap: Machine, page: int, write: bool, fault: tuple[int, int]
) -> None:
    gva = WINDOW + page * PAGE + 8
    assert fault_of(trap, gva, 8, write=write) == fault
    if fault[0] == PF:
        assert trap.vcpu.virtual.cr2 == gva


def test_accessed_and_dirty_bits_are_the_processors(trap: Machine) -> None:
    entry = TABLES + 2 * PAGE + 6 * 8
    assert trap.memory.read_uint(entry, 8) & 0x60 == 0
    trap.vcpu.read_linear(WINDOW + 6 * PAGE, 1)
    assert trap.memory.read_uint(entry, 8) & 0x60 == 0x20
    trap.vcpu.write_linear(WINDOW + 6 * PAGE, b"x")
    assert trap.memory.read_uint(entry, 8) & 0x60 == 0x60


@pytest.mark.parametrize("gva", [1 << 47, (1 << 63) + 5, 0xFFFF_7FFF_FFFF_FFFF, (1 << 47) - 4])
def test_addresses_that_are_not_canonical(trap: Machine, paravirt: Machine, gva: int) -> None:
    for made in (trap, paravirt):
        for write in (False, True):
            vector, _ = fault_of(made, gva, 8, write=write)
            assert vector == GP or gva == (1 << 47) - 4


def test_an_access_around_the_end_of_addresses(trap: Machine, paravirt: Machine) -> None:
    for made in (trap, paravirt):
        assert fault_of(made, (1 << 64) - 4, 8, write=False) == (PF, 0)
        assert fault_of(made, (1 << 64) - 1, 1, write=True) == (PF, 2)


def test_the_monitors_tables_are_followed_alike(paravirt: Machine) -> None:
    assert paravirt.vcpu.read_linear(BASE, 1) == b"\xf4"
    assert fault_of(paravirt, WINDOW, 8, write=True) == (PF, 3)
    assert fault_of(paravirt, WINDOW + PAGE - 4, 8, write=False) == (PF, 0)
    assert paravirt.vcpu.virtual.cr2 == WINDOW + PAGE
    paravirt.vcpu.write_linear(WINDOW + 2 * PAGE + 8, b"12345678")
    assert paravirt.vcpu.read_linear(WINDOW + 8, 8) == b"12345678"
    assert fault_of(paravirt, 0, 1, write=False) == (PF, 0)


def test_code_is_read_up_to_where_it_is_mapped(paravirt: Machine) -> None:
    assert paravirt.vcpu.code_at(WINDOW + PAGE - 3) == bytes(3)
    assert paravirt.vcpu.code_at(WINDOW + PAGE) == b""
    assert paravirt.vcpu.code_at(1 << 47) == b""
    assert len(paravirt.vcpu.code_at(BASE)) == 15
    assert paravirt.vcpu.code_at((1 << 64) - 1) == b""


def test_more_than_a_page_is_the_handlers_mistake(trap: Machine) -> None:
    with pytest.raises(ValueError, match="more than a page"):
        trap.vcpu.read_linear(WINDOW, PAGE + 1)
    with pytest.raises(ValueError, match="more than a page"):
        trap.vcpu.write_linear(WINDOW, bytes(PAGE + 1))
    assert trap.vcpu.read_linear(WINDOW, 0) == b""


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(gva=st.integers(0, (1 << 64) - 1), size_bytes=st.integers(0, PAGE), entries=st.binary(min_size=64, max_size=64))
def test_no_address_and_no_table_leads_outside(gva: int, size_bytes: int, entries: bytes) -> None:
    """Random bytes as every level of the window's tables: data or a fault of the guest's, nothing else."""
    with prepare([], ROOT) as made:
        made.memory.write(ROOT, entries * 8 * 8)
        made.vcpu.virtual.cr3 = gva & ~0xFFF if gva & 1 else ROOT
        faults: list[tuple[int, bool]] = []
        for at in (gva, WINDOW | gva & 0x7FFF_FFFF):
            try:
                assert len(made.vcpu.read_linear(at, size_bytes)) == size_bytes
                made.vcpu.write_linear(at, bytes(size_bytes))
            except GuestFault as fault:
                faults.append((fault.vector, fault.error_code is not None))
        assert set(faults) <= {(GP, True), (PF, True)}
