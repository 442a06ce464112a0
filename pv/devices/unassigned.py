"""What answers on ports that no chip claims? Nothing: reads give all ones, writes are lost, both are counted.

Port 0x80, the POST display that kernels write for a short delay, is such a port.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from pv.devices.bus import all_ones
from pv.devices.state import SavedFields, State, StateError


class UnassignedPorts(SavedFields):
    """An undriven bus. `reads` and `writes` count byte accesses by port."""

    wiring_fields: ClassVar = ("reads", "writes")  # kept as lists, which may have any length

    def __init__(self) -> None:
        self.reads: Counter[int] = Counter()
        self.writes: Counter[int] = Counter()

    def save(self) -> State:
        return {name: [n for pair in getattr(self, name).items() for n in pair] for name in ("reads", "writes")}

    def restore(self, saved: State) -> None:
        for name in ("reads", "writes"):
            flat = saved.get(name)
            if not isinstance(flat, list) or len(flat) % 2 or not all(type(one) is int for one in flat):
                raise StateError(f"UnassignedPorts.{name} is no list of counts")
            setattr(self, name, Counter(dict(zip(flat[::2], flat[1::2], strict=True))))

    def read(self, offset: int, size: int) -> int:
        """All ones. `offset` is the port itself."""
        self.reads[offset] += 1
        return all_ones(size)

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002  (the bus's signature)
        """Lost. `offset` is the port itself."""
        self.writes[offset] += 1


class NoPciHost(SavedFields):
    """The PCI configuration ports of a machine without PCI (PCI 2.1, 3.2.2.3.2): the address does not read back."""

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002  (the bus's signature)
        return all_ones(size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Lost: a guest that probes for a host bridge finds none."""
