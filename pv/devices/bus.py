"""How do chips become rows of the dispatch table, and how does a wide access reach a narrow chip?

The ISA bus in one place: who claims which ports, and the splitting of 16- and 32-bit accesses into cycles that a
chip can take (ISA System Architecture, "8- and 16-bit transfers"). No chip and no machine comes in here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pv.dispatch import ANY_KEY, Row, Shape
from pv.exits import Reason, Reply
from pv.memory import PAGE_SIZE

Read = Callable[[int, int], int]
"""read(offset, size) -> value of `size` bytes, unsigned; offset = port - first."""
Write = Callable[[int, int, int], Reply | None]
"""write(offset, size, value) -> Reply, or None for "go on"."""

PORTS: Final = 0x10000


def port_rows(owner: str, first: int, last: int, read: Read, write: Write) -> tuple[Row, Row]:
    """The two rows that send ports first..last, or ANY_KEY, to `read` and `write` as they are.

    Raises ValueError where the range is not one of ports.
    """
    if (first, last) != (ANY_KEY, ANY_KEY) and not 0 <= first <= last < PORTS:
        raise ValueError(f"{owner}: ports {first:#x}-{last:#x} are not within 0-0xffff")
    return (
        Row(Reason.IO_INSTRUCTION, first, last, read, owner, "in", Shape.READ),
        Row(Reason.IO_INSTRUCTION, first, last, write, owner, "out", Shape.WRITE),
    )


def all_ones(size: int) -> int:
    """What a bus that nobody drives reads as: `size` bytes of 0xff."""
    return (1 << 8 * size) - 1


@dataclass(frozen=True, slots=True)
class Claim:
    """Ports first..last belong to one chip, which takes accesses of up to `width` bytes whole.

    fifo: the ports are one, behind which data waits: an access of any size is for it, and reaches no port after it.
    """

    owner: str
    first: int
    last: int
    read: Read
    write: Write
    width: int
    fifo: bool = False

    def takes(self, port: int, size: int) -> bool:
        """Whether the chip answers this access in one cycle."""
        return size <= self.width and self.first <= port and port + size - 1 <= self.last


@dataclass(frozen=True, slots=True)
class Window:
    """gpas first..last, whole pages, belong to a device. read and write get offsets from `first`, sizes of 1-8 bytes.

    Raises ValueError where the range is not one of pages.
    """

    owner: str
    first: int
    last: int
    read: Read
    write: Write

    def __post_init__(self) -> None:
        if self.first % PAGE_SIZE or (self.last + 1) % PAGE_SIZE or not 0 <= self.first < self.last:
            raise ValueError(f"{self.owner}: gpas {self.first:#x}-{self.last:#x} are not whole pages")


class IsaBus:
    """The claims of one machine. Ports that nobody claims go to `unassigned`, which sees the port as its offset."""

    def __init__(self, unassigned_read: Read, unassigned_write: Write) -> None:
        self._claims: list[Claim] = []
        self._unassigned = Claim("unassigned ports", 0, PORTS - 1, unassigned_read, unassigned_write, 1)

    def claim(self, owner: str, first: int, last: int, read: Read, write: Write, width: int = 1) -> None:
        """Give ports first..last to a chip. The dispatch table refuses what two owners claim."""
        self._claims.append(Claim(owner, first, last, read, write, width))

    def claim_fifo(self, owner: str, port: int, read: Read, write: Write) -> None:
        """Give one port to a chip that moves 1, 2 or 4 bytes through it at a time."""
        self._claims.append(Claim(owner, port, port, read, write, 4, fifo=True))

    def rows(self) -> tuple[Row, ...]:
        """The rows of all claims, and one of ANY_KEY each way for the ports that nobody claims."""
        rows: list[Row] = []
        for claim in self._claims:
            rows += port_rows(claim.owner, claim.first, claim.last, *self._adapt(claim))
        return (*rows, *port_rows(self._unassigned.owner, ANY_KEY, ANY_KEY, *self._adapt(self._unassigned)))

    def _adapt(self, claim: Claim) -> tuple[Read, Write]:
        """Handlers that pass on what the chip takes in one cycle and split what it does not."""
        first, chip_read, chip_write = claim.first, claim.read, claim.write
        if claim.fifo:
            return chip_read, chip_write

        def read(offset: int, size: int) -> int:
            if size == 1 or claim.takes(first + offset, size):
                return chip_read(offset, size)
            return self._read_bytes(first + offset, size)

        def write(offset: int, size: int, value: int) -> Reply | None:
            if size == 1 or claim.takes(first + offset, size):
                return chip_write(offset, size, value)
            return self._write_bytes(first + offset, size, value)

        return read, write

    def _at(self, port: int) -> Claim:
        return next((claim for claim in self._claims if claim.first <= port <= claim.last), self._unassigned)

    def _read_bytes(self, port: int, size: int) -> int:
        """One cycle a byte, consecutive ports, the lowest first; a cycle past 0xffff wraps as the address lines do."""
        data = bytearray()
        for cycle in range(size):
            at = (port + cycle) % PORTS
            claim = self._at(at)
            data.append(claim.read(at - claim.first, 1))
        return int.from_bytes(data, "little")

    def _write_bytes(self, port: int, size: int, value: int) -> Reply | None:
        """As _read_bytes. The first reply ends the access: it says that the guest is not to go on."""
        for cycle, byte in enumerate(value.to_bytes(size, "little")):
            at = (port + cycle) % PORTS
            claim = self._at(at)
            reply = claim.write(at - claim.first, 1, byte)
            if reply is not None:
                return reply
        return None
