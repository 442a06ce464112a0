from __future__ import annotations

import pytest

from pv.emulate.architecture import CR4_DE, CR4_PAE, DR6_BD, DR7_GD, GP_0, UD
from pv.emulate.system_registers import SystemRegisters
from pv.exits import NEXT, Reply, fault
from tests.pv.emulate.recording_vcpu import Guest

RBX = 3


def write(guest: Guest, number: int, value: int) -> Reply:
    guest.vcpu.rbx = value
    return guest.execute(bytes((0x0F, 0x23, 0xC0 | number << 3 | RBX)))


def read(guest: Guest, number: int) -> int:
    assert guest.execute(bytes((0x0F, 0x21, 0xC0 | number << 3 | RBX))) is NEXT
    return int(guest.vcpu.rbx)


@pytest.mark.parametrize("number", range(4))
def test_breakpoint_addresses_hold_64_bits(guest: Guest, number: int) -> None:
    assert write(guest, number, 0xFEDC_BA98_7654_3210) is NEXT
    assert read(guest, number) == 0xFEDC_BA98_7654_3210


@pytest.mark.parametrize(
    ("number", "written", "reads"),
    [
        (6, 0, 0xFFFF0FF0),
        (6, 0xFFFFFFFF, 0xFFFFEFFF),
        (7, 0, 0x400),
        (7, 0xFFFFFFFF & ~DR7_GD, 0xFFFF07FF),
    ],
)
def test_fixed_bits(guest: Guest, number: int, written: int, reads: int) -> None:
    assert write(guest, number, written) is NEXT
    assert read(guest, number) == reads


@pytest.mark.parametrize("number", [4, 5, 6, 7])
@pytest.mark.parametrize("bit", range(32, 64))
def test_upper_halves_are_reserved(guest: Guest, number: int, bit: int) -> None:
    assert write(guest, number, 1 << bit) == GP_0


@pytest.mark.parametrize(("alias", "number"), [(4, 6), (5, 7)])
def test_aliases_last_until_debugging_extensions_are_on(guest: Guest, alias: int, number: int) -> None:
    assert write(guest, alias, 1) is NEXT
    assert read(guest, alias) == read(guest, number)
    guest.virtual.cr4 = CR4_PAE | CR4_DE
    assert write(guest, alias, 0) == UD
    assert read(guest, number) & 1


def test_general_detect_faults_once(guest: Guest, system: SystemRegisters) -> None:
    assert write(guest, 7, DR7_GD) is NEXT
    guest.vcpu.rbx = 0x55
    assert guest.execute(bytes((0x0F, 0x23, 0xC0 | RBX))) == fault(1)
    assert system.breakpoints[0] == 0
    assert read(guest, 6) & DR6_BD
    assert not read(guest, 7) & DR7_GD
