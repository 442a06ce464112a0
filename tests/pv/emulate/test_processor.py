from __future__ import annotations

import pytest

from pv.emulate.architecture import GP_0, UD
from pv.exits import NEXT, WAIT, Reply
from tests.pv.emulate.recording_vcpu import Guest


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        ("f4", WAIT),
        ("0f09", NEXT),  # WBINVD
        ("0f08", NEXT),  # INVD
        ("0f01d1", UD),  # XSETBV
        ("0f01c8", UD),  # MONITOR
        ("0f01c9", UD),  # MWAIT
        ("0f33", GP_0),  # RDPMC
    ],
)
def test_replies(guest: Guest, code: str, reply: Reply) -> None:
    assert guest.execute(code) == reply
    assert guest.log == []


def test_invlpg_names_the_linear_address(guest: Guest) -> None:
    guest.vcpu.rax, guest.vcpu.gs_base = 0x1000, 0xFFFF_8000_0000_0000
    assert guest.execute("650f017808") is NEXT
    assert guest.log == [("invalidate", 0xFFFF_8000_0000_1008)]


def test_invlpg_of_no_address_does_nothing(guest: Guest) -> None:
    guest.vcpu.rax = 1 << 63
    assert guest.execute("0f0138") is NEXT
    assert guest.log == []
