"""The scripted engine's registers, memory and notes."""

import pytest

from pv.engines.base import GENERAL_REGISTERS, GuestFault
from pv.engines.scripted_cpu import NotedCpu
from pv.memory import GuestMemory


@pytest.fixture
def cpu() -> NotedCpu:
    return NotedCpu(GuestMemory(1 << 20))


def test_registers_by_name_and_by_encoding(cpu: NotedCpu) -> None:
    for encoding, name in enumerate(GENERAL_REGISTERS):
        cpu.set(encoding, encoding - 1)
        assert getattr(cpu, name) == cpu.get(encoding) == (encoding - 1) % (1 << 64)


def test_vectors_have_128_bits_and_a_jump_is_near(cpu: NotedCpu) -> None:
    cpu.set_xmm(3, (1 << 130) - 1)
    assert (cpu.xmm(3), cpu.xmm(2)) == ((1 << 128) - 1, 0)
    cpu.jump(0x1234)
    assert cpu.rip == 0x1234


def test_linear_addresses_are_physical_and_faults_are_page_faults(cpu: NotedCpu) -> None:
    cpu.write_linear(0x1000, b"data")
    assert cpu.read_linear(0x1000, 4) == cpu.memory.read(0x1000, 4) == b"data"
    with pytest.raises(GuestFault) as caught:
        cpu.write_linear((1 << 20) - 1, b"xy")
    assert (caught.value.vector, caught.value.error_code) == (14, 2)


def test_what_a_handler_has_it_do_is_noted(cpu: NotedCpu) -> None:
    cpu.load_segment(3, 0x10)
    cpu.shadow.invalidate(0x5000)
    assert cpu.tables.map(0, 0x1000, 0x2000, 1, 3) == 0
    cpu.interrupt_return()
    cpu.inject(14, 0)
    assert cpu.done == [
        ("load_segment", (3, 0x10)),
        ("shadow.invalidate", (0x5000,)),
        ("tables.map", (0, 0x1000, 0x2000, 1, 3)),
        ("interrupt_return", ()),
    ]
    assert cpu.injected == [(14, 0)]


def test_swapgs_swaps(cpu: NotedCpu) -> None:
    cpu.gs_base, cpu.virtual.kernel_gs_base = 1, 2
    cpu.swap_gs()
    assert (cpu.gs_base, cpu.virtual.kernel_gs_base) == (2, 1)
