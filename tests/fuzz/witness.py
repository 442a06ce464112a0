"""Do machines that others stand beside stay as they are? A guest of known counts, run again and again.

One machine is made anew each time; another lives through the whole campaign and is run for a slice each time.
"""

from __future__ import annotations

import gc
import resource
from pathlib import Path

from guest_sdk import Guest
from pv.exits import StopWhy
from pv.machine import Machine
from tests.fuzz.runner import Harm

SLICE_EXITS = 50


def workload() -> bytes:
    """A guest that maps, faults on nothing, writes text and ends with a checksum of what it computed."""
    guest = Guest("witness", paravirt=True)
    guest.string("text", "w")
    guest.asm("main: mov ebx, 7\nmov ebp, 20\nagain:")
    guest.call.console_write("text", "text_bytes")
    guest.call.clock_read()
    guest.asm("imul ebx, ebx, 31\nadd ebx, 11\ndec ebp\njnz again\nmov eax, ebx\nand eax, 0x7f\nret")
    return guest.build()


def endless() -> bytes:
    guest = Guest("witness", paravirt=True)
    guest.asm("main: xor ebx, ebx\nagain: inc rbx")
    guest.call.abi_version()
    guest.asm("jmp again")
    return guest.build()


class Witness:
    """Raises Harm from look() where anything differs from the first time."""

    def __init__(self) -> None:
        self._image = workload()
        self._living = Machine(memory="2MiB")
        self._living.load(endless())
        self._slices = 0
        self._expected = self._run()

    def _run(self) -> tuple[object, ...]:
        with Machine(memory="2MiB") as machine:
            machine.load(self._image)
            outcome = machine.run()
        return outcome.why, outcome.status, outcome.console, dict(outcome.by_key), dict(outcome.calls)

    def look(self) -> None:
        found = self._run()
        if found != self._expected:
            raise Harm(f"a machine beside the guests ran otherwise: {found} was {self._expected}")
        outcome = self._living.run(max_exits=SLICE_EXITS)
        self._slices += 1
        exits, counted = outcome.exits.total, self._living.vcpu.rbx
        # One exit fills the hypercall page where the guest uses it; each turn of the loop is one more.
        if outcome.why is not StopWhy.MAX_EXITS or exits != SLICE_EXITS * self._slices or not 0 <= exits - counted <= 1:
            raise Harm(f"a machine that lived beside the guests is not as it was: {outcome.summary}, {exits} {counted}")

    def close(self) -> None:
        self._living.close()


def descriptors() -> int:
    """Open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    """What this process holds of memory now, once garbage is gone."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
