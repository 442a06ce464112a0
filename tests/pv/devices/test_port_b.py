"""System control port B."""

from __future__ import annotations

import pytest

from pv.devices.port_b import REFRESH_NS, PortB, PortBBit
from tests.pv.devices.fakes import FakeTime


@pytest.mark.parametrize("written", [0, 1, 2, 3, 0xFF])
def test_writes_drive_the_gate_and_the_low_bits_read_back(written: int) -> None:
    gates: list[bool] = []
    port = PortB(gates.append, lambda: False, FakeTime().read)
    port.write(0, 1, written)
    assert gates == [bool(written & 1)]
    assert port.read(0, 1) == written & 0x0F


def test_out_and_refresh_show() -> None:
    time, out = FakeTime(), [False]
    port = PortB(lambda _level: None, lambda: out[0], time.read)
    assert port.read(0, 1) == 0
    out[0] = True
    time.stop_at(REFRESH_NS)
    assert port.read(0, 1) == PortBBit.OUT_2 | PortBBit.REFRESH_TOGGLE
    time.stop_at(2 * REFRESH_NS)
    assert port.read(0, 1) == PortBBit.OUT_2
