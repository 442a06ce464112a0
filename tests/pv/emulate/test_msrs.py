from __future__ import annotations

import pytest

from pv.emulate.architecture import EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, GP_0, MASK_32, MASK_64
from pv.emulate.msrs import EFER_INDEX, MSRS, TSC_INDEX, Msr, canonical_address, writable_efer
from pv.exits import NEXT, Reply
from tests.pv.emulate.recording_vcpu import Guest

LONG_MODE = EFER_LME | EFER_LMA
INDICES = {msr.name: msr.index for msr in MSRS}


def write(guest: Guest, index: int, value: int) -> Reply:
    """WRMSR, with rubbish in the upper halves that the instruction ignores."""
    guest.vcpu.rcx = index | 0xAAAA << 32
    guest.vcpu.rax, guest.vcpu.rdx = value & MASK_32 | 0xBBBB << 32, value >> 32 | 0xCCCC << 32
    return guest.execute("0f30")


def read(guest: Guest, index: int) -> int:
    guest.vcpu.rcx = index
    guest.vcpu.rax = guest.vcpu.rdx = MASK_64
    assert guest.execute("0f32") is NEXT
    assert guest.vcpu.rax <= MASK_32
    assert guest.vcpu.rdx <= MASK_32
    return int(guest.vcpu.rdx << 32 | guest.vcpu.rax)


@pytest.mark.parametrize("msr", MSRS, ids=lambda msr: msr.name)
def test_a_refused_value_changes_nothing(guest: Guest, msr: Msr) -> None:
    for bit in range(64):
        before = read(guest, msr.index)
        value = before ^ 1 << bit
        reply = write(guest, msr.index, value)
        assert reply == (NEXT if msr.writable(before, value) else GP_0)
        assert read(guest, msr.index) == (value if reply is NEXT else before)


@pytest.mark.parametrize("msr", [msr for msr in MSRS if msr.writable is canonical_address], ids=lambda msr: msr.name)
def test_addresses_must_be_canonical(guest: Guest, msr: Msr) -> None:
    assert write(guest, msr.index, 0xFFFF_8000_0000_0000) is NEXT
    assert write(guest, msr.index, 0x0000_8000_0000_0000) == GP_0
    assert read(guest, msr.index) == 0xFFFF_8000_0000_0000


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("IA32_STAR", "star"),
        ("IA32_LSTAR", "lstar"),
        ("IA32_FMASK", "fmask"),
        ("IA32_KERNEL_GS_BASE", "kernel_gs_base"),
    ],
)
def test_system_call_msrs_are_where_the_engine_reads_them(guest: Guest, name: str, place: str) -> None:
    assert write(guest, INDICES[name], 0x1234_5678) is NEXT
    assert getattr(guest.virtual, place) == 0x1234_5678


def test_segment_bases_are_the_live_ones(guest: Guest) -> None:
    assert write(guest, INDICES["IA32_FS_BASE"], 0x7000) is NEXT
    assert write(guest, INDICES["IA32_GS_BASE"], 0x9000) is NEXT
    assert (guest.vcpu.fs_base, guest.vcpu.gs_base) == (0x7000, 0x9000)


@pytest.mark.parametrize("index", [0, 0x11, 0x4000_0000, 0xC000_0104, 0xFFFF_FFFF])
def test_an_unknown_index_is_a_fault(guest: Guest, index: int) -> None:
    guest.vcpu.rcx = index
    assert guest.execute("0f32") == GP_0
    assert guest.execute("0f30") == GP_0


@pytest.mark.parametrize("bit", range(64))
def test_efer_one_bit_at_a_time(guest: Guest, bit: int) -> None:
    guest.virtual.efer = LONG_MODE
    reply = write(guest, EFER_INDEX, LONG_MODE ^ 1 << bit)
    mask = 1 << bit
    if mask in (EFER_SCE, EFER_NXE):
        assert (reply, guest.virtual.efer) == (NEXT, LONG_MODE | mask)
    elif mask == EFER_LMA:  # read-only: the write is ignored
        assert (reply, guest.virtual.efer) == (NEXT, LONG_MODE)
    else:
        assert (reply, guest.virtual.efer) == (GP_0, LONG_MODE)


def test_no_execute_changes_what_the_shadow_holds(guest: Guest) -> None:
    guest.virtual.efer = LONG_MODE
    write(guest, EFER_INDEX, LONG_MODE | EFER_SCE)
    assert guest.log == []
    write(guest, EFER_INDEX, LONG_MODE | EFER_NXE)
    assert guest.log == [("flush",)]


def test_efer_follows_cpuid() -> None:
    assert writable_efer(lambda _leaf, _subleaf: (0, 0, 0, 0)) == 0
    assert writable_efer(lambda _leaf, _subleaf: (0, 0, 0, 1 << 20)) == EFER_NXE


@pytest.mark.parametrize("position", range(8))
def test_pat_entries(guest: Guest, position: int) -> None:
    taken = [entry for entry in range(256) if write(guest, INDICES["IA32_PAT"], entry << position * 8) is NEXT]
    assert taken == [0, 1, 4, 5, 6, 7]


def test_the_time_stamp_counter_can_be_set_and_goes_on(guest: Guest) -> None:
    guest.vcpu.now_ns = 5_000
    assert read(guest, TSC_INDEX) == 5_000
    assert write(guest, TSC_INDEX, 100) is NEXT
    guest.vcpu.now_ns = 5_007
    assert read(guest, TSC_INDEX) == 107
