"""How fast is guest code translated? Every block that the workloads left in the cache, translated again by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.compare import MEMORY, TIMEOUT_S, find_workload
from bench.disks import workload_disks
from pv.machine import Machine
from pv.plugin import foreign_plugins
from pv.translate.block import Translator

TECHNIQUE: Final = "translate"
ROOM: Final = 1 << 16  # bytes of the cache that a block may take: more than any takes
MOST: Final = 64  # instructions of a block
KERNEL_CS: Final = 8


@dataclass(frozen=True, slots=True)
class Registers:
    """What a translator bakes into a block, of a guest that has set nothing up: pv.translate.block.VirtualState."""

    cr0: int = 0x8005_0033
    cr4: int = 0x620
    gdt_base: int = 0
    gdt_limit: int = 0xFFFF
    idt_base: int = 0
    idt_limit: int = 0xFFFF
    ldt_selector: int = 0
    tr_selector: int = 0


def blocks_of(workload: str, operations: int) -> list[tuple[int, bytes]]:
    """(rip, code) of each block in the cache once `workload` has run under translate. Raises RuntimeError."""
    image = find_workload(workload, TECHNIQUE).build(operations)
    with Machine(
        memory=MEMORY, technique=TECHNIQUE, disks=workload_disks(), disabled_plugins=foreign_plugins()
    ) as machine:
        machine.load(image)
        outcome = machine.run(timeout=TIMEOUT_S)
        if not outcome.ok or outcome.status:
            raise RuntimeError(f"{workload}: {outcome.summary}")
        return [(rip, source) for rip, source, *_ in machine.vcpu.translations()]


def translate_all(blocks: Sequence[tuple[int, bytes]]) -> int:
    """Translate each once; the instructions of all."""
    translator = Translator(Registers())
    return sum(translator.translate(rip, source, ROOM, KERNEL_CS, False, MOST).instructions for rip, source in blocks)
