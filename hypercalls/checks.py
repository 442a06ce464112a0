"""What an address or a span that a guest names must be: each check raises GuestError or passes."""

from __future__ import annotations

from errno import E2BIG, EFAULT, EINVAL
from typing import Final

from pv.exits import GuestError
from pv.memory import PAGE_SIZE, GuestMemory

LOW_END: Final = 1 << 47
HIGH_FIRST: Final = (1 << 64) - LOW_END
PAGES_MOST: Final = 1 << 20  # pages of one request, 4 GiB: no exit may take as long as the guest likes


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


def check_linear_pages(gva: int, pages: int) -> None:
    """EINVAL unless gva starts a page and all `pages` after it lie in its canonical half; E2BIG for too many."""
    if pages > PAGES_MOST:
        raise GuestError(E2BIG, f"{pages} pages where {PAGES_MOST} are allowed")
    half_end = LOW_END if gva < LOW_END else 1 << 64
    if gva % PAGE_SIZE or LOW_END <= gva < HIGH_FIRST or gva + pages * PAGE_SIZE > half_end:
        raise GuestError(EINVAL, f"{pages} pages from {gva:#x} are not pages of one canonical half")


def check_physical_pages(memory: GuestMemory, gpa: int, pages: int) -> None:
    """EINVAL unless gpa starts a page, EFAULT unless all `pages` are inside memory."""
    if gpa % PAGE_SIZE:
        raise GuestError(EINVAL, f"gpa {gpa:#x} is not the start of a page")
    if gpa + pages * PAGE_SIZE > memory.size_bytes:
        raise GuestError(EFAULT, f"{pages} pages from {gpa:#x} are outside guest memory")
