from __future__ import annotations

import pytest

from pv.engines.base import GuestFault
from pv.exits import AGAIN
from tests.pv.emulate.recording_vcpu import CODE, GDT, STACK, Guest, descriptor

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
    assert guest.log == [("far_transfer", 8, 0x5000, None)]


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
    assert guest.log == [("far_transfer", 8, 0x5000, rsp)]
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
    assert guest.log == [("far_transfer", 8, 0x5000, STACK + 2 * size_bytes)]


def test_ret_releases_what_it_is_told(guest: Guest) -> None:
    push(guest, 0x5000, 8)
    assert guest.execute("48ca2000") is AGAIN
    assert guest.log == [("far_transfer", 8, 0x5000, STACK + 0x30)]


def user_frame(guest: Guest, ss: int = USER_DATA, access: int = 0xF3) -> None:
    """A far return to CPL 3 whose stack segment has that access byte."""
    guest.memory.write(GDT + 0x18, descriptor(access=access))
    push(guest, 0x5000, USER_CODE, 0x7000, ss)


def test_ret_outward_also_pops_the_stack(guest: Guest) -> None:
    user_frame(guest)
    assert guest.execute("48cb") is AGAIN
    assert guest.log == [("far_transfer", USER_CODE, 0x5000, 0x7000), ("load_segment", 2, USER_DATA)]


def test_ret_outward_releases_on_both_stacks(guest: Guest) -> None:
    push(guest, 0x5000, USER_CODE, 0, 0, 0x7000, USER_DATA)
    guest.memory.write(GDT + 0x18, descriptor(access=0xF3))
    assert guest.execute("48ca1000") is AGAIN
    assert guest.log[0] == ("far_transfer", USER_CODE, 0x5000, 0x7010)


def test_ret_of_a_program_stays_with_it(guest: Guest) -> None:
    guest.vcpu.cpl = 3
    push(guest, 0x5000, USER_CODE)
    assert guest.execute("48cb") is AGAIN
    assert guest.log == [("far_transfer", USER_CODE, 0x5000, STACK + 16)]


@pytest.mark.parametrize(
    ("ss", "access", "expected"),
    [
        (3, 0xF3, (13, 0)),  # null
        (0x18, 0xF3, (13, 0x18)),  # RPL 0
        (USER_DATA, 0x93, (13, 0x18)),  # DPL 0
        (USER_DATA, 0xF1, (13, 0x18)),  # read-only
        (USER_DATA, 0xFB, (13, 0x18)),  # code
        (USER_DATA, 0xE2, (13, 0x18)),  # an LDT
        (USER_DATA, 0x73, (12, 0x18)),  # not present
    ],
)
def test_ret_outward_checks_the_stack_before_it_leaves(
    guest: Guest, ss: int, access: int, expected: tuple[int, int]
) -> None:
    user_frame(guest, ss, access)
    assert fault_of(guest, "48cb") == expected
    assert guest.log == []


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
