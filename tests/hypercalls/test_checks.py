from errno import E2BIG, EFAULT, EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercalls.checks import (
    PAGES_MOST,
    check_canonical,
    check_linear_pages,
    check_page,
    check_physical_pages,
)
from pv.exits import GuestError
from pv.memory import PAGE_SIZE, GuestMemory

MEMORY = GuestMemory(1 << 20)
ADDRESS = st.integers(0, (1 << 64) - 1) | st.sampled_from(
    [edge + by for edge in (0x1000, 1 << 20, 1 << 47, (1 << 64) - (1 << 47), (1 << 64) - 4096) for by in (-4096, -1, 0)]
)
PAGES = st.integers(0, 300) | st.integers(0, (1 << 64) - 1) | st.just(PAGES_MOST)


def errno_of(check, *arguments):
    try:
        check(*arguments)
    except GuestError as error:
        return error.errno
    return 0


def is_canonical(gva):
    return gva >> 47 in (0, (1 << 17) - 1)


@given(ADDRESS)
def test_canonical(gva):
    assert errno_of(check_canonical, gva) == (0 if is_canonical(gva) else EINVAL)


@given(ADDRESS)
def test_page(gpa):
    expected = EINVAL if gpa % PAGE_SIZE else EFAULT if gpa >= MEMORY.size_bytes else 0
    assert errno_of(check_page, MEMORY, gpa) == expected


@given(ADDRESS, PAGES)
def test_linear_pages(gva, pages):
    last = gva + max(0, pages * PAGE_SIZE - 1)
    fine = gva % PAGE_SIZE == 0 and is_canonical(gva) and last >> 47 == gva >> 47
    assert errno_of(check_linear_pages, gva, pages) == (E2BIG if pages > PAGES_MOST else 0 if fine else EINVAL)


@given(ADDRESS, PAGES)
def test_physical_pages(gpa, pages):
    errno = errno_of(check_physical_pages, MEMORY, gpa, pages)
    assert (errno == 0) == (gpa % PAGE_SIZE == 0 and gpa + pages * PAGE_SIZE <= MEMORY.size_bytes)
    assert errno in (0, EINVAL, EFAULT)


@pytest.mark.parametrize("gva", [0, (1 << 47) - PAGE_SIZE, (1 << 64) - PAGE_SIZE])
def test_the_last_page_of_a_half_is_a_page(gva):
    assert errno_of(check_linear_pages, gva, 1) == 0
