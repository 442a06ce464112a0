"""Many cases, held to each other: the comparisons that tests and a long run make."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.differential.cases import Case, make
from tests.differential.errata import expected, strays
from tests.differential.guests import GuestProcessor
from tests.differential.privileged import emulated
from tests.differential.privileged import make as make_privileged
from tests.differential.privileged_errata import expected as privileged_expected
from tests.differential.processors import After, emulate, native

FAULTS: Final = {-1: "done", 0: "#DE", 1: "#DB", 6: "#UD", 11: "#NP", 12: "#SS", 13: "#GP", 14: "#PF"}


class Difference(AssertionError):
    """The emulator and the engine, or the manual where the engine errs, disagree."""


def hold_privileged(genome: bytes) -> int:
    """Compare a privileged instruction: the fault that it ends with, or -1. Raises Difference."""
    case = make_privileged(genome)
    wanted, after = privileged_expected(case), emulated(case)
    if after.fault != wanted.fault:
        raise Difference(f"{case}\nfault {after.fault} against {wanted.fault}")
    differing = [name for name in wanted.state if wanted.state[name] != after.state[name]]
    if differing:
        name = differing[0]
        raise Difference(f"{case}\n{name} {after.state[name]:#x} against {wanted.state[name]:#x}")
    return after.fault


class Campaign:
    """Compares cases by their genomes, exits under `technique`; what came of them is in `tally`. Close it."""

    def __init__(self, technique: str) -> None:
        self.memory, self.device = (GuestProcessor(technique, device=device) for device in (False, True))
        self.tally: Counter[str] = Counter()

    def compare_operation(self, genome: bytes) -> None:
        """The operation by itself against the engine. Raises Difference, also where a fault has changed anything."""
        case = make(genome)
        if case is None:
            self.tally["not encodable"] += 1
            return
        after, cpu = emulate(case)
        self._hold(case, after, expected(case, native().run))
        if (
            after.fault >= 0
            and not case.insn.repeated
            and (cpu.registers, cpu.vectors) != (case.registers, case.vectors)
        ):
            raise Difference(f"{case}\na fault left registers changed")
        self.tally["reached the device"] += cpu.cycles > 0

    def compare_exits(self, genome: bytes) -> None:
        """The device's page a device, against the same page as memory. Raises Difference."""
        case = make(genome)
        if case is None or strays(case):
            self.tally["not comparable"] += 1
            return
        accesses = self.device.accesses
        wanted = expected(case, self.memory.run) if case.reaches_device else self.memory.run(case)
        self._hold(case, self.device.run(case), wanted)
        self.tally["reached the device"] += self.device.accesses > accesses

    def compare_privileged(self, genome: bytes) -> None:
        """A privileged instruction at CPL 0 against the handlers of trap. Raises Difference."""
        self.tally[FAULTS[hold_privileged(genome)]] += 1

    def _hold(self, case: Case, after: After, wanted: After) -> None:
        self.tally[FAULTS[after.fault]] += 1
        if difference := after.difference(wanted):
            raise Difference(f"{case}\n{difference}")

    def close(self) -> None:
        self.memory.close()
        self.device.close()
