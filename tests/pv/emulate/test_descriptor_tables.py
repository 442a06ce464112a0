from __future__ import annotations

import pytest

from pv.emulate.architecture import GP_0
from pv.emulate.descriptor_tables import descriptor_table_store_rows
from pv.emulate.mmio_decode import decode_translated
from pv.engines.base import GuestFault
from pv.exits import NEXT
from tests.pv.emulate.recording_vcpu import GDT, LDT, Guest, descriptor

TSS = 0x89
LDT_ACCESS = 0x82
OPERAND = 0x2000


def fault_of(guest: Guest, code: str) -> tuple[int, int | None]:
    with pytest.raises(GuestFault) as caught:
        guest.execute(code)
    return caught.value.vector, caught.value.error_code


@pytest.mark.parametrize(("code", "table"), [("0f0110", "gdt"), ("0f0118", "idt"), ("660f0118", "idt")])
def test_lgdt_and_lidt_take_base_and_limit(guest: Guest, code: str, table: str) -> None:
    guest.memory.write(OPERAND, (0x17F | 0xFFFF_8000_0000_3000 << 16).to_bytes(10, "little"))
    guest.vcpu.rax = OPERAND
    assert guest.execute(code) is NEXT
    assert getattr(guest.virtual, f"{table}_base") == 0xFFFF_8000_0000_3000
    assert getattr(guest.virtual, f"{table}_limit") == 0x17F


@pytest.mark.parametrize("code", ["0f0110", "0f0118"])
def test_a_base_that_is_not_canonical(guest: Guest, code: str) -> None:
    guest.memory.write(OPERAND, b"\xff\xff" + (1 << 63).to_bytes(8, "little"))
    guest.vcpu.rax = OPERAND
    assert fault_of(guest, code) == (13, 0)
    assert guest.virtual.gdt_base == GDT


def test_ltr_loads_the_task_state_and_marks_it_busy(guest: Guest) -> None:
    guest.memory.write(GDT + 0x28, descriptor(0xFFFF_8000_0001_2340, 0x67, TSS, 0, size=16))
    guest.vcpu.rax = 0x28
    assert guest.execute("0f00d8") is NEXT
    virtual = guest.virtual
    assert (virtual.tr_selector, virtual.tr_base, virtual.tr_limit) == (0x28, 0xFFFF_8000_0001_2340, 0x67)
    assert guest.memory.read(GDT + 0x2D, 1) == b"\x8b"
    assert fault_of(guest, "0f00d8") == (13, 0x28)  # it is busy now


@pytest.mark.parametrize(
    ("selector", "access", "base", "expected"),
    [
        (0x2C, TSS, 0, (13, 0x2C)),  # in the LDT
        (0x100, TSS, 0, (13, 0x100)),  # beyond the limit
        (0x2B, 0x09, 0, (11, 0x28)),  # not present
        (0x28, LDT_ACCESS, 0, (13, 0x28)),  # another type
        (0x28, 0x99, 0, (13, 0x28)),  # a code segment
        (0x28, TSS, 1 << 63, (13, 0x28)),  # a base that is not canonical
    ],
)
def test_ltr_refuses(guest: Guest, selector: int, access: int, base: int, expected: tuple[int, int]) -> None:
    guest.memory.write(GDT + 0x28, descriptor(base, 0x67, access, 0, size=16))
    guest.vcpu.rax = selector
    assert fault_of(guest, "0f00d8") == expected
    assert guest.virtual.tr_selector == 0
    assert guest.memory.read(GDT + 0x2D, 1)[0] == access


@pytest.mark.parametrize("selector", range(4))
def test_null_selectors(guest: Guest, selector: int) -> None:
    guest.vcpu.rax = selector
    assert guest.execute("0f00d8") == GP_0
    guest.virtual.ldt_selector, guest.virtual.ldt_base, guest.virtual.ldt_limit = 0x30, LDT, 0xF
    assert guest.execute("0f00d0") is NEXT
    assert (guest.virtual.ldt_selector, guest.virtual.ldt_base, guest.virtual.ldt_limit) == (selector, 0, 0)


def test_lldt_loads_a_table(guest: Guest) -> None:
    guest.memory.write(GDT + 0x30, descriptor(LDT, 0xF, LDT_ACCESS, 0, size=16))
    guest.memory.write(OPERAND, b"\x30\x00")
    guest.vcpu.rax = OPERAND
    assert guest.execute("0f0010") is NEXT
    assert (guest.virtual.ldt_selector, guest.virtual.ldt_base, guest.virtual.ldt_limit) == (0x30, LDT, 0xF)


@pytest.mark.parametrize(("access", "expected"), [(TSS, (13, 0x30)), (0x02, (11, 0x30))])
def test_lldt_refuses(guest: Guest, access: int, expected: tuple[int, int]) -> None:
    guest.memory.write(GDT + 0x30, descriptor(LDT, 0xF, access, 0, size=16))
    guest.vcpu.rax = 0x30
    assert fault_of(guest, "0f00d0") == expected
    assert guest.virtual.ldt_selector == 0


@pytest.mark.parametrize(("code", "table"), [("0f0100", "gdt"), ("0f0108", "idt"), ("660f0108", "idt")])
def test_sgdt_and_sidt_store_ten_bytes(guest: Guest, code: str, table: str) -> None:
    guest.add(descriptor_table_store_rows(guest.vcpu, "test"))
    setattr(guest.virtual, f"{table}_base", 0xFFFF_8000_1234_5678)
    setattr(guest.virtual, f"{table}_limit", 0x17F)
    guest.vcpu.rax = OPERAND
    assert guest.execute(code, decoder=decode_translated) is NEXT
    assert guest.memory.read(OPERAND, 12) == (0x17F | 0xFFFF_8000_1234_5678 << 16).to_bytes(12, "little")


@pytest.mark.parametrize(("digit", "name"), [("c1", "ldt_selector"), ("c9", "tr_selector")])
def test_sldt_and_str_show_selectors(guest: Guest, digit: str, name: str) -> None:
    guest.add(descriptor_table_store_rows(guest.vcpu, "test"))
    setattr(guest.virtual, name, 0x28)
    for prefix, expected in (("", 0x28), ("66", 0xFFFF_FFFF_FFFF_0028), ("48", 0x28)):
        guest.vcpu.rcx = (1 << 64) - 1
        assert guest.execute(f"{prefix}0f00{digit}", decoder=decode_translated) is NEXT
        assert guest.vcpu.rcx == expected
