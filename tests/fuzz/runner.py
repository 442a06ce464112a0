"""One guest run between canaries, and what must hold of its end."""

from __future__ import annotations

import mmap
import time
from dataclasses import dataclass
from typing import Final

from pv.exits import StopWhy
from pv.machine import Machine
from pv.memory import GuestMemory
from tests.fuzz.programs import Program, install_handlers

CANARY: Final = b"\xa5\x5a" * (1 << 13)
KERNEL_RINGS: Final = {"hardware": 0}  # the others run a guest's kernel at CPL 1
TIMEOUT_S: Final = 0.002
MAX_EXITS: Final = 400
STRINGS_MOST: Final = 32  # INS and OUTS stop at the end of their block, which may have more of them
# ESCAPED would be a guest at CPL 0, ENGINE_ERROR a call of the engine that failed without our knowing why.
LEGAL: Final = frozenset(StopWhy) - {StopWhy.ESCAPED, StopWhy.ENGINE_ERROR, StopWhy.STOPPED}


class Harm(AssertionError):
    """What a guest did that no guest may."""


class Between(GuestMemory):
    """Guest memory in the midst of a larger mapping, whose edges are looked at when it is closed."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        super().close()
        self._pages = None
        self._map = mmap.mmap(-1, self.size_bytes + 2 * len(CANARY), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._whole = memoryview(self._map)
        self._edges = self._whole[: len(CANARY)], self._whole[-len(CANARY) :]
        self.view = self._whole[len(CANARY) : -len(CANARY)]  # type: ignore[misc] # the same memory, elsewhere
        for edge in self._edges:
            edge[:] = CANARY

    def close(self) -> None:
        intact = all(edge == CANARY for edge in self._edges)
        for part in (*self._edges, self._whole):
            part.release()
        super().close()
        if not intact:
            raise Harm("the guest has written memory of the host's")


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one guest. seconds: of the host, in run()."""

    why: StopWhy
    exits: int
    seconds: float


def run_program(program: Program) -> Ran:
    """Run it until something ends it, and judge. Raises Harm; any other exception is a bug of ours as well."""
    machine = Machine(memory=Between(program.memory_bytes), technique=program.technique)
    with machine:
        machine.load(program.code)
        for gpa, data in program.planted:
            if gpa + len(data) <= program.memory_bytes:
                machine.memory.write(gpa, data)
        if program.handles:
            install_handlers(machine.vcpu, machine.memory, program.technique)
        for register, value in enumerate(program.registers):
            machine.vcpu.set(register, value)
        started = time.perf_counter()
        outcome = machine.run(timeout=TIMEOUT_S, max_exits=MAX_EXITS)
        seconds = time.perf_counter() - started
        if outcome.why not in LEGAL:
            raise Harm(f"the guest ended as none may: {outcome.summary}")
        if machine.vcpu.cpl not in (KERNEL_RINGS.get(program.technique, 1), 3):
            raise Harm(f"the guest stands at CPL {machine.vcpu.cpl}")
        if not outcome.summary or outcome.exits.total > MAX_EXITS + STRINGS_MOST or len(outcome.record) > 64:
            raise Harm(f"the outcome is none: {outcome.exits.total} exits, {outcome.summary!r}")
    return Ran(outcome.why, outcome.exits.total, seconds)
