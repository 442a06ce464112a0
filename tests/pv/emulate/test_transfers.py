from __future__ import annotations

import pytest

from pv.engines.base import GuestFault
from pv.exits import AGAIN
from tests.pv.emulate.recording_vcpu import CODE, STACK, Guest

OPERAND = 0x2000
USER_DATA = 0x1B
USER_CODE = 0x23


def fault_of(guest: Guest, code: str) -> tuple[int, int | None]:
    with pytest.raises(GuestFault) as caught:
        guest.execute(code)
    return caught.value.vector, caught.value.error_code


def push(guest: Guest, *values: int, size_bytes: int = 8) -> None:
    guest.memory.write(STACK, b"".join(value.to_bytes(size_bytes, "little") for value in values))


@pytest.mark.parametrize(("code", "size_bytes"), [("66ff28", 2), ("ff28", 4), ("48ff28", 8)])
def test_jmp(guest: Guest, code: str, size_bytes: int) -> None:
    guest.vcpu.rax = OPERAND
    guest.memory.write(OPERAND, (0x5000).to_bytes(size_bytes, "little") + b"\x08\x00")
    assert guest.execute(code) is AGAIN
    assert guest.log == [("far_transfer", 8, 0x5000, None, None)]


@pytest.mark.parametrize("code", ["48ff28", "48ff18"])
def test_a_target_that_is_not_canonical(guest: Guest, code: str) -> None:
    guest.vcpu.rax = OPERAND
    guest.memory.write(OPERAND, (1 << 63).to_bytes(8, "little") + b"\x08\x00")
    assert fault_of(guest, code) == (13, 0)
    assert guest.log == []


@pytest.mark.parametrize(("code", "size_bytes"), [("66ff18", 2), ("ff18", 4), ("48ff18", 8)])
def test_call_pushes_where_to_return(guest: Guest, code: str, size_bytes: int) -> None:
    guest.vcpu.rax = OPERAND
    guest.memory.write(OPERAND, (0x5000).to_bytes(size_bytes, "little") + b"\x08\x00")
    assert guest.execute(code) is AGAIN
    rsp = STACK - 2 * size_bytes
    assert guest.log == [("far_transfer", 8, 0x5000, rsp, None)]
    assert guest.memory.read_uint(rsp, size_bytes) == CODE + len(bytes.fromhex(code))
    assert guest.memory.read_uint(rsp + size_bytes, size_bytes) == 8


def test_a_call_that_is_refused_leaves_the_stack_pointer(guest: Guest) -> None:
    guest.vcpu.rax = OPERAND
    guest.memory.write(OPERAND, (0x5000).to_bytes(8, "little") + b"\x50\x00")
    guest.refuse(0x50, 11)
    assert fault_of(guest, "48ff18") == (11, 0x50)
    assert guest.vcpu.rsp == STACK


@pytest.mark.parametrize(("code", "size_bytes"), [("66cb", 2), ("cb", 4), ("48cb", 8)])
def test_ret(guest: Guest, code: str, size_bytes: int) -> None:
    push(guest, 0x5000, 8, size_bytes=size_bytes)
    assert guest.execute(code) is AGAIN
    assert guest.log == [("far_transfer", 8, 0x5000, STACK + 2 * size_bytes, None)]


def test_ret_releases_what_it_is_told(guest: Guest) -> None:
    push(guest, 0x5000, 8)
    assert guest.execute("48ca2000") is AGAIN
    assert guest.log == [("far_transfer", 8, 0x5000, STACK + 0x30, None)]


def test_ret_outward_also_pops_the_stack(guest: Guest) -> None:
    push(guest, 0x5000, USER_CODE, 0x7000, USER_DATA)
    assert guest.execute("48cb") is AGAIN
    assert guest.log[-1] == ("far_transfer", USER_CODE, 0x5000, 0x7000, USER_DATA)


def test_ret_outward_releases_on_both_stacks(guest: Guest) -> None:
    push(guest, 0x5000, USER_CODE, 0, 0, 0x7000, USER_DATA | 0xABCD_0000)
    assert guest.execute("48ca1000") is AGAIN
    assert guest.log[-1] == ("far_transfer", USER_CODE, 0x5000, 0x7010, USER_DATA)


def test_ret_of_a_program_stays_with_it(guest: Guest) -> None:
    guest.vcpu.cpl = 3
    push(guest, 0x5000, USER_CODE)
    assert guest.execute("48cb") is AGAIN
    assert guest.log == [("far_transfer", USER_CODE, 0x5000, STACK + 16, None)]


@pytest.mark.parametrize("selector", [0x50, 0x53])
def test_a_ret_that_is_refused_leaves_the_stack_pointer(guest: Guest, selector: int) -> None:
    push(guest, 0x5000, selector, 0x7000, USER_DATA)
    guest.refuse(selector)
    assert fault_of(guest, "48cb") == (13, 0x50)
    assert guest.vcpu.rsp == STACK


def test_ret_from_no_stack_is_a_fault(guest: Guest) -> None:
    guest.vcpu.rsp = (1 << 64) - 8
    assert fault_of(guest, "48cb") == (14, 0)


def test_iretq(guest: Guest) -> None:
    assert guest.execute("48cf") is AGAIN
    assert guest.log == [("interrupt_return",)]


@pytest.mark.parametrize(("code", "bits"), [("0f07", 32), ("480f07", 64)])
def test_sysret(guest: Guest, code: str, bits: int) -> None:
    assert guest.execute(code) is AGAIN
    assert guest.log == [("system_return", bits)]
