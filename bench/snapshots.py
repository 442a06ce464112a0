"""What a snapshot costs: taking it, putting it back, a fork to its first exit, and the memory of a thousand forks."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from typing import Final

from bench.lifetime import resident_bytes
from guest_sdk import Guest
from pv.exits import StopWhy
from pv.machine import Machine
from pv.snapshot import Snapshot

MEMORY: Final = "16MiB"
FIRST_GPA: Final = 2 << 20  # of the memory that the guest fills
FILLED_BYTES: Final = 8 << 20
DIRTY_PAGES: Final = 100
PAGE_BYTES: Final = 4096
FORKS: Final = 1000
TIMEOUT_S: Final = 60.0
PARAVIRT_ASKS: Final = "mov eax, 0x1000\n    vmcall"  # one exit that Python answers
UNMODIFIED_ASKS: Final = "mov edx, 0x80\n    out dx, al"


def filling_guest(technique: str) -> bytes:
    """A guest that fills FILLED_BYTES, then for ever: exits, dirties DIRTY_PAGES, and exits again."""
    ask = PARAVIRT_ASKS if technique == "paravirt" else UNMODIFIED_ASKS
    guest = Guest("filler", paravirt=technique == "paravirt")
    guest.asm(f"""
main:
    mov r12d, {FIRST_GPA:#x}
    mov ecx, {FILLED_BYTES // PAGE_BYTES}
fill:
    mov [r12], r12
    add r12, {PAGE_BYTES}
    dec ecx
    jnz fill
again:
    {ask}
    {ask}
    mov r12d, {FIRST_GPA:#x}
    mov ecx, {DIRTY_PAGES}
dirty:
    mov [r12], rcx
    add r12, {PAGE_BYTES}
    dec ecx
    jnz dirty
    jmp again
""")
    return guest.build()


def filled(technique: str) -> Machine:
    """A machine whose guest has filled its memory and stands before the second of two exits."""
    machine = Machine(memory=MEMORY, technique=technique)
    machine.load(filling_guest(technique))
    asked = ("VMCALL", "abi_version") if technique == "paravirt" else ("IO_INSTRUCTION", "port 0x80 write")
    while machine.run(max_exits=1, timeout=TIMEOUT_S).by_key.get(asked, 0) < 1:
        pass
    return machine


def dirty(machine: Machine) -> None:
    """Let the guest write its DIRTY_PAGES."""
    assert machine.run(max_exits=2, timeout=TIMEOUT_S).why is StopWhy.MAX_EXITS


def first_exit(machine: Machine) -> None:
    assert machine.run(max_exits=1, timeout=TIMEOUT_S).why is StopWhy.MAX_EXITS


def fork_and_exit(parent: Machine, snapshot: Snapshot) -> Machine:
    """A fork that has run to its first exit."""
    child = parent.fork(snapshot)
    first_exit(child)
    return child


@dataclass(frozen=True, slots=True)
class Crowd:
    """Resident bytes of `forks` machines that live at once, and of one that was not forked."""

    forks: int
    fork_bytes: float
    whole_bytes: float
    seconds: float


def crowd(technique: str, forks: int = FORKS) -> Crowd:
    """Fork a machine `forks` times, run each to its first exit and weigh them while all live."""
    parent = filled(technique)
    snapshot = parent.snapshot()
    fork_and_exit(parent, snapshot).close()  # what the process needs once is there now
    gc.collect()
    before, start = resident_bytes(), time.perf_counter()
    children = [fork_and_exit(parent, snapshot) for _ in range(forks)]
    seconds = time.perf_counter() - start
    fork_bytes = (resident_bytes() - before) / forks
    for child in children:
        child.close()
    children.clear()
    parent.close()
    gc.collect()
    before, whole = resident_bytes(), [filled(technique) for _ in range(8)]
    whole_bytes = (resident_bytes() - before) / len(whole)
    for machine in whole:
        machine.close()
    return Crowd(forks, fork_bytes, whole_bytes, seconds)
