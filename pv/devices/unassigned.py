"""What answers on ports that no chip claims? Nothing: reads give all ones, writes are lost, both are counted.

Port 0x80, the POST display that kernels write for a short delay, is such a port.
"""

from __future__ import annotations

from collections import Counter

from pv.devices.bus import all_ones


class UnassignedPorts:
    """An undriven bus. `reads` and `writes` count byte accesses by port."""

    def __init__(self) -> None:
        self.reads: Counter[int] = Counter()
        self.writes: Counter[int] = Counter()

    def read(self, offset: int, size: int) -> int:
        """All ones. `offset` is the port itself."""
        self.reads[offset] += 1
        return all_ones(size)

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        """Lost. `offset` is the port itself."""
        self.writes[offset] += 1


class NoPciHost:
    """The PCI configuration ports of a machine without PCI (PCI 2.1, 3.2.2.3.2): the address does not read back."""

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        return all_ones(size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Lost: a guest that probes for a host bridge finds none."""
