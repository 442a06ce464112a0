from __future__ import annotations

import pytest

from pv.engines.base import GuestFault
from pv.exits import NEXT
from tests.pv.emulate.recording_vcpu import STACK, Guest

OPERAND = 0x2000


@pytest.mark.parametrize(
    ("code", "segment"), [("8ec0", 0), ("8ed0", 2), ("8ed8", 3), ("8ee0", 4), ("8ee8", 5), ("488ed8", 3), ("668ed8", 3)]
)
def test_mov_from_a_register(guest: Guest, code: str, segment: int) -> None:
    guest.vcpu.rax = 0xDEAD_0000_002B
    assert guest.execute(code) is NEXT
    assert guest.log == [("load_segment", segment, 0x2B)]


def test_mov_from_memory_reads_two_bytes(guest: Guest) -> None:
    guest.vcpu.rax = guest.memory.size_bytes - 2
    guest.memory.write(guest.memory.size_bytes - 2, b"\x33\x00")
    assert guest.execute("8e18") is NEXT
    assert guest.log == [("load_segment", 3, 0x33)]


@pytest.mark.parametrize(
    ("code", "segment", "size_bytes"), [("0fa1", 4, 8), ("0fa9", 5, 8), ("660fa1", 4, 2), ("660fa9", 5, 2)]
)
def test_pop(guest: Guest, code: str, segment: int, size_bytes: int) -> None:
    guest.memory.write(STACK, b"\x2b\x00\xff\xff")
    assert guest.execute(code) is NEXT
    assert guest.log == [("load_segment", segment, 0x2B)]
    assert guest.vcpu.rsp == STACK + size_bytes


@pytest.mark.parametrize(
    ("code", "segment", "rdx", "pointer"),
    [
        ("660fb210", 2, 0xFFFF_FFFF_FFFF_2211, "1122 2b00"),
        ("0fb410", 4, 0x44332211, "11223344 2b00"),
        ("480fb510", 5, 0x8877665544332211, "1122334455667788 2b00"),
    ],
)
def test_far_pointers(guest: Guest, code: str, segment: int, rdx: int, pointer: str) -> None:
    guest.vcpu.rax, guest.vcpu.rdx = OPERAND, (1 << 64) - 1
    guest.memory.write(OPERAND, bytes.fromhex(pointer))
    assert guest.execute(code) is NEXT
    assert guest.log == [("load_segment", segment, 0x2B)]
    assert guest.vcpu.rdx == rdx


@pytest.mark.parametrize("code", ["8ed8", "0fa1", "480fb210"])
def test_a_refused_load_changes_nothing(guest: Guest, code: str) -> None:
    guest.memory.write(STACK, b"\x50\x00")
    guest.memory.write(OPERAND, b"\x11" * 8 + b"\x50\x00")
    guest.vcpu.rax = OPERAND if code.startswith("48") else 0x50
    guest.refuse(0x50)
    before = list(guest.vcpu.registers)
    with pytest.raises(GuestFault) as caught:
        guest.execute(code)
    assert (caught.value.vector, caught.value.error_code) == (13, 0x50)
    assert guest.vcpu.registers == before


def test_swapgs(guest: Guest) -> None:
    assert guest.execute("0f01f8") is NEXT
    assert guest.log == [("swap_gs",)]
