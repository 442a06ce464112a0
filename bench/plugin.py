"""The hypercalls and the device that the rows of bench.rows reach: plain Python functions, as anybody writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.disks import workload_disks
from bench.rows import BUFFER_CALL, LATCH_PORT, NULL_CALL
from hypercalls import GuestBytes, Plugin, hypercall
from hypercalls.machine_view import MachineView
from pv.dispatch import Row, Shape
from pv.exits import Reason
from pv.machine import Machine

MEMORY: Final = "16MiB"


@hypercall(NULL_CALL, "bench_null")
def null(_machine: MachineView, a: int, b: int, c: int, d: int, e: int, f: int) -> int:  # noqa: ARG001
    """Six arguments, one result, nothing done."""
    return a


@hypercall(BUFFER_CALL, "bench_buffer")
def buffer(_machine: MachineView, data: GuestBytes) -> int:
    """A buffer copied in from guest memory."""
    return len(data)


class Latch:
    """A device of one port: it keeps what was written and gives it back."""

    def __init__(self) -> None:
        self.value = 0

    def read(self, _offset: int, _size: int) -> int:
        return self.value

    def write(self, _offset: int, _size: int, value: int) -> None:
        self.value = value


def latch_rows(_machine: MachineView) -> Iterator[Row]:
    """The latch at LATCH_PORT, both ways."""
    latch = Latch()
    yield Row(Reason.IO_INSTRUCTION, LATCH_PORT, LATCH_PORT, latch.read, "bench", "latch", Shape.READ)
    yield Row(Reason.IO_INSTRUCTION, LATCH_PORT, LATCH_PORT, latch.write, "bench", "latch", Shape.WRITE)


PLUGIN: Final = Plugin("bench", "1", calls=(null, buffer), further_rows=latch_rows)


def bench_machine(technique: str) -> Machine:
    """A machine that answers the rows of `technique`."""
    hypercalls = [PLUGIN] if technique == "paravirt" else []
    return Machine(memory=MEMORY, technique=technique, hypercalls=hypercalls, disks=workload_disks())
