from errno import EFAULT, EINVAL

import pytest

from hypercalls import clock


@pytest.fixture
def booted(machine):
    return machine.add(clock.PLUGIN)


def test_read_gives_virtual_time(booted):
    booted.vcpu.now_ns = 1234
    assert booted.ask("clock_read") == 1234


def test_page_is_given_to_the_vcpu(booted):
    assert booted.ask("clock_page", 0x3000) == 0
    assert booted.vcpu.told == [("set_clock_page", 0x3000)]


@pytest.mark.parametrize(
    ("gpa", "errno"), [(0x3008, EINVAL), (1 << 20, EFAULT), ((1 << 64) - 4096, EFAULT), ((1 << 64) - 1, EINVAL)]
)
def test_pages_that_are_none(booted, gpa, errno):
    assert booted.errno("clock_page", gpa) == errno
    assert booted.vcpu.told == []
