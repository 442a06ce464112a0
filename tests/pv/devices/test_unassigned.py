"""Ports that nobody claims, and a PCI host that is not there."""

from __future__ import annotations

from pv.devices.unassigned import NoPciHost, UnassignedPorts


def test_reads_give_all_ones_and_both_directions_are_counted_by_port() -> None:
    ports = UnassignedPorts()
    assert [ports.read(0x64, size) for size in (1, 2, 4)] == [0xFF, 0xFFFF, 0xFFFFFFFF]
    ports.write(0x80, 1, 0x12)
    assert (ports.reads, ports.writes) == ({0x64: 3}, {0x80: 1})


def test_a_probe_for_pci_finds_no_host_bridge() -> None:
    pci = NoPciHost()
    pci.write(0, 4, 0x8000_0000)
    assert pci.read(0, 4) == 0xFFFF_FFFF
