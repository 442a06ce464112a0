"""What an address or a span that a guest names must be: each check raises GuestError or passes."""

from __future__ import annotations

from errno import EFAULT, EINVAL
from typing import Final

from pv.exits import GuestError
from pv.memory import PAGE_SIZE, GuestMemory

LOW_END: Final = 1 << 47
HIGH_FIRST: Final = (1 << 64) - LOW_END


def check_canonical(gva: int) -> None:
    """EINVAL unless bits 63-47 are equal (Intel SDM vol. 1, 3.3.7.1)."""
    if LOW_END <= gva < HIGH_FIRST:
        raise GuestError(EINVAL, f"address {gva:#x} is not canonical")


def check_page(memory: GuestMemory, gpa: int) -> None:
    """EINVAL unless `gpa` starts a page, EFAULT unless that page is inside memory."""
    if gpa % PAGE_SIZE:
        raise GuestError(EINVAL, f"gpa {gpa:#x} is not the start of a page")
    if gpa + PAGE_SIZE > memory.size_bytes:
        raise GuestError(EFAULT, f"page {gpa:#x} is outside guest memory")
