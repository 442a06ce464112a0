"""isa-debug-exit."""

from __future__ import annotations

import pytest

from pv.devices.debug_exit import DebugExit
from pv.exits import stop


@pytest.mark.parametrize(("value", "status"), [(0, 0), (1, 1), (0xFF, 0xFF), (0x1234, 0x34)])
def test_a_write_ends_the_guest_with_its_low_byte(value: int, status: int) -> None:
    assert DebugExit().write(0, 4, value) == stop(status)


def test_reads_as_zero() -> None:
    assert DebugExit().read(0, 1) == 0
