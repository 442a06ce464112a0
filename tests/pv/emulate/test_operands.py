from __future__ import annotations

import pytest

from pv.emulate.decode import Instruction, decode
from pv.emulate.operands import effective_address, read_uint, read_word, write_register
from pv.engines.base import GuestFault
from tests.pv.emulate.recording_vcpu import MASK_64, Guest

RAX, RCX, RBX = 0, 1, 3


def insn(code: str, rip: int = 0x4000) -> Instruction:
    decoded = decode(bytes.fromhex(code), rip)
    assert decoded is not None
    return decoded


@pytest.mark.parametrize(
    ("code", "address"),
    [
        ("0f013b", 0x2_0000_1000),  # [rbx]
        ("0f013c4b", 0x2_0000_1000 + 2 * 0x11),  # [rbx + rcx*2]
        ("0f017bf0", 0x2_0000_0FF0),  # [rbx - 16]
        ("670f013b", 0x1000),  # [ebx]
        ("640f013b", 0x2_0000_1000 + 0x7000),  # fs:[rbx]
        ("65670f013b", 0x1000 + 0x9000),  # gs:[ebx]: the base is added after the cut
        ("0f013d10000000", 0x4017),  # [rip + 16]
        ("0f0138", (1 << 64) - 8),  # [rax]
        ("0f017810", 8),  # [rax + 16] wraps
    ],
)
def test_effective_addresses(guest: Guest, code: str, address: int) -> None:
    vcpu = guest.vcpu
    vcpu.rax, vcpu.rbx, vcpu.rcx = (1 << 64) - 8, 0x2_0000_1000, 0x11
    vcpu.fs_base, vcpu.gs_base = 0x7000, 0x9000
    assert effective_address(vcpu, insn(code)) == address


def test_a_word_comes_from_a_register_or_from_memory(guest: Guest) -> None:
    guest.vcpu.rax = 0xFFFF_1234_5678
    assert read_word(guest.vcpu, insn("0f01f0")) == 0x5678
    guest.vcpu.rax = 0x2000
    guest.memory.write(0x2000, b"\xcd\xab\xff")
    assert read_word(guest.vcpu, insn("0f0130")) == 0xABCD


def test_a_bad_address_is_the_guests_fault(guest: Guest) -> None:
    with pytest.raises(GuestFault) as caught:
        read_uint(guest.vcpu, 1 << 40, 8)
    assert caught.value.vector == 14


@pytest.mark.parametrize(("size_bytes", "result"), [(2, 0xFFFF_FFFF_FFFF_5678), (4, 0x1234_5678), (8, 0x1234_5678)])
def test_register_writes_keep_or_clear_the_upper_part(guest: Guest, size_bytes: int, result: int) -> None:
    guest.vcpu.rbx = MASK_64
    write_register(guest.vcpu, RBX, 0x1234_5678, size_bytes)
    assert guest.vcpu.rbx == result
