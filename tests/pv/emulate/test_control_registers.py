from __future__ import annotations

import pytest

from pv.emulate.architecture import (
    CR0_CD,
    CR0_DEFINED,
    CR0_EM,
    CR0_ET,
    CR0_NW,
    CR0_PE,
    CR0_PG,
    CR0_TS,
    CR0_WP,
    CR4_FSGSBASE,
    CR4_MCE,
    CR4_OSXSAVE,
    CR4_PAE,
    CR4_PCIDE,
    CR4_PGE,
    CR4_SMAP,
    CR4_SMEP,
    CR4_UMIP,
    CR4_VMXE,
    GP_0,
    MASK_64,
    UD,
)
from pv.emulate.control_registers import CR4_FEATURES, reserved_address_bits, writable_cr4
from pv.emulate.mmio_decode import decode_in_guest_mode
from pv.exits import NEXT, Exit, Reason, Reply
from tests.pv.emulate.recording_vcpu import Guest

BASE = CR0_PE | CR0_PG | CR0_ET
RBX = 3


def write(guest: Guest, number: int, value: int) -> Reply:
    """MOV CRn, RBX."""
    guest.vcpu.rbx = value
    return guest.execute(bytes((0x40 | number >> 3 << 2, 0x0F, 0x22, 0xC0 | (number & 7) << 3 | RBX)))


def read(guest: Guest, number: int) -> int:
    """MOV RBX, CRn."""
    assert guest.execute(bytes((0x40 | number >> 3 << 2, 0x0F, 0x20, 0xC0 | (number & 7) << 3 | RBX))) is NEXT
    return int(guest.vcpu.rbx)


@pytest.mark.parametrize("number", [0, 2, 3, 4])
def test_reads_show_the_virtual_register(guest: Guest, number: int) -> None:
    setattr(guest.virtual, f"cr{number}", 0x1234_5678_9ABC)
    assert read(guest, number) == 0x1234_5678_9ABC


@pytest.mark.parametrize("bit", range(64))
def test_cr0_one_bit_at_a_time(guest: Guest, bit: int) -> None:
    value = BASE ^ 1 << bit
    before = guest.virtual.cr0
    reply = write(guest, 0, value)
    refused = bit >= 32 or not value & CR0_PE or not value & CR0_PG or value & (CR0_NW | CR0_CD) == CR0_NW
    assert reply == (GP_0 if refused else NEXT)
    assert guest.virtual.cr0 == (before if refused else value & CR0_DEFINED | CR0_ET)


@pytest.mark.parametrize(("caches", "reply"), [(0, NEXT), (CR0_CD, NEXT), (CR0_NW | CR0_CD, NEXT), (CR0_NW, GP_0)])
def test_not_write_through_needs_cache_disable(guest: Guest, caches: int, reply: Reply) -> None:
    assert write(guest, 0, BASE | caches) == reply


def test_cr0_changes_reach_what_depends_on_them(guest: Guest) -> None:
    guest.virtual.cr0 = BASE
    write(guest, 0, BASE | CR0_TS)
    write(guest, 0, BASE | CR0_TS)
    assert guest.log == [("set_task_switched", True)]
    write(guest, 0, BASE | CR0_WP)
    assert guest.log[1:] == [("set_task_switched", False), ("flush",)]
    write(guest, 0, BASE | CR0_WP | CR0_EM)
    assert guest.log[3:] == [("set_task_switched", True)]


def test_clts(guest: Guest) -> None:
    guest.virtual.cr0 = BASE | CR0_TS
    assert guest.execute("0f06") is NEXT
    assert guest.virtual.cr0 == BASE
    assert guest.log == [("set_task_switched", False)]


def test_lmsw_writes_four_bits_and_cannot_clear_pe(guest: Guest) -> None:
    guest.virtual.cr0 = BASE | CR0_WP
    guest.vcpu.rax = 0xFFFF
    assert guest.execute("0f01f0") is NEXT
    assert guest.virtual.cr0 == BASE | CR0_WP | 0xF
    guest.vcpu.rax = 0
    assert guest.execute("0f01f0") is NEXT
    assert guest.virtual.cr0 == BASE | CR0_WP


def test_cr2_takes_anything(guest: Guest) -> None:
    assert write(guest, 2, MASK_64) is NEXT
    assert guest.virtual.cr2 == MASK_64


@pytest.mark.parametrize("bit", range(64))
def test_cr3_reserves_what_the_processor_has_no_address_lines_for(guest: Guest, bit: int) -> None:
    before = guest.virtual.cr3
    reply = write(guest, 3, 1 << bit)
    if bit >= 40:
        assert (reply, guest.virtual.cr3, guest.log) == (GP_0, before, [])
    else:
        assert (reply, guest.virtual.cr3, guest.log) == (NEXT, 1 << bit, [("load", 1 << bit)])


@pytest.mark.parametrize("bit", range(64))
def test_cr4_one_bit_at_a_time(guest: Guest, bit: int) -> None:
    offered = sum(CR4_FEATURES) | 1 << 8
    value = CR4_PAE ^ 1 << bit
    reply = write(guest, 4, value)
    allowed = bool(value & CR4_PAE) and not value & ~offered
    assert reply == (NEXT if allowed else GP_0)
    assert guest.virtual.cr4 == (value if allowed else CR4_PAE)


@pytest.mark.parametrize("bit", [CR4_PCIDE, CR4_SMEP, CR4_SMAP, CR4_UMIP, CR4_FSGSBASE, CR4_VMXE, CR4_OSXSAVE, CR4_MCE])
def test_cr4_refuses_what_cpuid_hides(guest: Guest, bit: int) -> None:
    assert write(guest, 4, CR4_PAE | bit) == GP_0


def test_a_change_of_global_pages_empties_the_shadow(guest: Guest) -> None:
    write(guest, 4, CR4_PAE | CR4_PGE)
    write(guest, 4, CR4_PAE | CR4_PGE)
    assert guest.log == [("flush",)]


def test_cr4_follows_cpuid() -> None:
    assert writable_cr4(lambda _leaf, _subleaf: (0, 0, 0, 0)) == 1 << 8
    assert writable_cr4(lambda _leaf, _subleaf: (0, 0, 0, 1 << 13)) == 1 << 8 | CR4_PGE


def test_an_old_processor_has_36_address_bits() -> None:
    assert reserved_address_bits(lambda _leaf, _subleaf: (0, 0, 0, 0)) == -(1 << 36)


@pytest.mark.parametrize("number", [1, 5, 6, 7, 9, 15])
def test_the_others_do_not_exist(guest: Guest, number: int) -> None:
    for direction in (0, 1):
        assert guest.answer(Exit(Reason.CR_ACCESS, number * 2 + direction)) == UD


@pytest.mark.parametrize(("code", "value"), [("660f01e0", 0x1122_0000_0000_8033), ("0f01e0", 0x8001_8033)])
def test_smsw_writes_a_register_as_wide_as_it_is(guest: Guest, code: str, value: int) -> None:
    guest.virtual.cr0, guest.vcpu.rax = 0x8001_8033, 0x1122_0000_0000_FFFF
    insn = decode_in_guest_mode(bytes.fromhex(code), 0)
    assert insn is not None
    assert guest.answer(Exit(insn.reason, insn.key, 0, length=insn.length, insn=insn, rip=0, cpl=0)) is NEXT
    assert guest.vcpu.rax == value
