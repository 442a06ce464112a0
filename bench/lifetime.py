"""What a machine costs beside its guest: made, run and dropped, and the memory that it holds while it lives."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Final

from guest_sdk import Guest
from guest_sdk.examples import hello
from pv.exits import StopWhy
from pv.machine import Machine

MEMORY: Final = "4MiB"
ALIVE: Final = 50  # machines that live at once where their memory is weighed
PAGE_BYTES: Final = 4096
SERIAL_HELLO: Final = """
main:
    mov rsi, message
    mov ecx, message_bytes
    mov edx, 0x3f8
again:
    mov al, byte ptr [rsi]
    out dx, al
    inc rsi
    dec ecx
    jnz again
    xor eax, eax
    ret
"""


def hello_guest(technique: str) -> bytes:
    """A guest that prints `hello, world` and ends: by hypercall, or byte by byte to a PC's serial port."""
    if technique == "paravirt":
        return hello.build()
    guest = Guest("hello", paravirt=False)
    guest.string("message", "hello, world\n")
    guest.asm(SERIAL_HELLO)
    return guest.build()


def live(image: bytes, technique: str) -> Machine:
    """A machine that has run `image` to its end."""
    machine = Machine(memory=MEMORY, technique=technique)
    machine.load(image)
    outcome = machine.run(timeout=30)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 0), outcome.summary
    return machine


def bytes_beside_memory(image: bytes, technique: str) -> float:
    """Resident bytes of one machine, less the pages that its guest has written."""
    machines = [live(image, technique) for _ in range(ALIVE)]  # what the process itself needs once is there now
    guest_bytes = written(machines[0])
    del machines
    gc.collect()
    before = resident_bytes()
    machines = [live(image, technique) for _ in range(ALIVE)]
    return (resident_bytes() - before) / len(machines) - guest_bytes


def written(machine: Machine) -> int:
    """Bytes of the guest's pages that are not all zeroes."""
    view, size = machine.memory.view, machine.memory.size_bytes
    return sum(PAGE_BYTES for at in range(0, size, PAGE_BYTES) if any(view[at : at + PAGE_BYTES]))


def resident_bytes() -> int:
    """What of this process is in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
