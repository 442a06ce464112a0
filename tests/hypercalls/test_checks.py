from errno import EFAULT, EINVAL

from hypothesis import given
from hypothesis import strategies as st

from hypercalls.checks import check_canonical, check_page
from pv.exits import GuestError
from pv.memory import PAGE_SIZE, GuestMemory

MEMORY = GuestMemory(1 << 20)
ADDRESS = st.integers(0, (1 << 64) - 1) | st.sampled_from(
    [edge + by for edge in (0x1000, 1 << 20, 1 << 47, (1 << 64) - (1 << 47), (1 << 64) - 4096) for by in (-4096, -1, 0)]
)


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
