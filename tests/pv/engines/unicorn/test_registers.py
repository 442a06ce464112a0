"""What handlers see and set of a processor's vectors and of its RIP, as the guest then finds them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pv.dispatch import Row
from pv.engines.base import GuestFault
from pv.exits import AGAIN, Reason, Reply
from tests.pv.engines.unicorn.guests import CODE, DATA, GP, TrapGuest

VALUE = int.from_bytes(range(1, 17), "little")


def test_vectors(trap: Callable[..., TrapGuest]) -> None:
    guest = trap(f"mov ebx, {DATA}; movups xmm9, [rbx]; hlt; movups [rbx + 16], xmm15; mov al, 0xee; out 0xf4, al")
    guest.memory.write(DATA, VALUE.to_bytes(16, "little"))
    seen = []

    def answer(_exit: object) -> Reply:
        seen.append(guest.vcpu.xmm(9))
        guest.vcpu.set_xmm(15, VALUE ^ 1 << 127)
        guest.vcpu.jump(guest.vcpu.rip + 1)
        return AGAIN

    guest.answer(Row(Reason.HLT, 0, 0, answer, "test", "HLT"))
    assert guest.run().status == 0xEE
    assert seen == [VALUE]
    assert int.from_bytes(guest.memory.read(DATA + 16, 16), "little") == VALUE ^ 1 << 127


def test_what_no_register_can_hold(trap: Callable[..., TrapGuest]) -> None:
    vcpu = trap("hlt").vcpu
    for number in (16, 1 << 31):
        with pytest.raises(IndexError, match="0-15"):
            vcpu.xmm(number)
    for value in (1 << 128, -1):
        with pytest.raises(OverflowError):
            vcpu.set_xmm(0, value)
    assert vcpu.xmm(0) == 0


@pytest.mark.parametrize("rip", [1 << 47, (1 << 64) - (1 << 47) - 1])
def test_a_jump_is_to_a_canonical_address(trap: Callable[..., TrapGuest], rip: int) -> None:
    vcpu = trap("hlt").vcpu
    with pytest.raises(GuestFault) as caught:
        vcpu.jump(rip)
    assert (caught.value.vector, caught.value.error_code, vcpu.rip) == (GP, 0, CODE)
