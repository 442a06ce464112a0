"""What devices saw: ports and windows in order, with RIP, and what is recorded beside them."""

from __future__ import annotations

import pytest

from pv.check import traffic
from pv.check.traffic import Recorder
from pv.machine import Machine
from tests.pv.check.guests import APIC, EXIT, HARDWARE, WRITES, assemble
from tests.pv.engines.unicorn_memory.machines import BASE


def recorded(text: str, technique: str) -> Recorder:
    with Machine(memory="2MiB", technique=technique, plugins=False) as machine:
        recorder = Recorder(machine)
        machine.load(assemble(text))
        machine.run(timeout=20)
        return recorder


@pytest.mark.parametrize("technique", HARDWARE)
def test_ports_in_order(technique: str) -> None:
    accesses = recorded(WRITES, technique).accesses
    assert [(one.device, one.place, one.write, one.value) for one in accesses] == [
        ("COM1", 0x3F8, True, 0x41),
        ("COM1", 0x3F8, True, 0x42),
        ("debug exit", 0xF4, True, 0),
    ]
    assert accesses[0].rip == BASE + 6
    assert [one.number for one in accesses] == [0, 1, 2]


@pytest.mark.parametrize("technique", HARDWARE)
def test_a_read_modify_write_of_a_window_is_two_accesses(technique: str) -> None:
    accesses = recorded(APIC, technique).accesses[:-1]
    assert [(one.place, one.write, one.value) for one in accesses] == [
        (0xFEE00080, True, 0x30),
        (0xFEE00080, False, 0x30),
        (0xFEE00080, True, 0x70),
        (0xFEE00080, False, 0x70),
    ]
    assert all(one.memory and one.device == "local APIC" for one in accesses)
    assert accesses[1].rip == accesses[2].rip


def test_roots_and_reads() -> None:
    recorder = recorded(f"mov rax, cr3; mov cr3, rax; in al, 0x21; {EXIT}", "trap")
    assert recorder.roots == {0x10000}
    assert recorder.accesses[0][:6] == ("master 8259", False, 0x21, False, 1, 0xFF)
    recorder.clear()
    assert (recorder.accesses, recorder.roots) == ([], set())


@pytest.mark.parametrize("technique", HARDWARE)
def test_the_first_timer_is_noted(technique: str) -> None:
    start = "mov al, 0x34; out 0x43, al; mov al, 1; out 0x40, al; out 0x40, al"
    again = "mov ecx, 1000; again: in al, 0x80; dec ecx; jnz again"
    recorder = recorded(f"{start}; {again}; {EXIT}", technique)
    assert recorder.first_tick is not None
    assert 3 < recorder.first_tick < len(recorder.accesses)


def test_no_more_are_kept_than_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "ACCESSES_MOST", 2)
    assert len(recorded(WRITES, "trap").accesses) == 2
