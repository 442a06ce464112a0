"""What does an engine need besides memory, and how much of it, for a guest of some size?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pv.memory import PAGE_SIZE
from pv.options import Option
from pv.techniques import Technique
from pv.techniques.controls import ControlBlock, intercept

MIB: Final = 1 << 20
ENGINE_OPTIONS: Final[dict[str, Callable[[int], int]]] = {  # each with its value for a memory of so many bytes
    # Tables that map all memory in 4 KiB pages take 1/512 of it; as much again for the guest's own spaces.
    "monitor_pages": lambda memory_bytes: 1024 + 2 * (memory_bytes // PAGE_SIZE) // 512,
    # A guest of some hundred blocks fits 1 MiB, a kernel wants 64: a guest's code grows with its memory.
    "translation_buffer_bytes": lambda memory_bytes: min(max(memory_bytes // 16, MIB), 64 * MIB),
}
CACHE_BYTES: Final = 2 * MIB  # some 300,000 instructions: the kernel code that a small system uses
INTERCEPT: Final = "intercept"
OWN_OPTIONS: Final = (
    Option("monitor_pages", help="most pages of the monitor's own tables", least=16, most=1 << 24),
    Option("translation_buffer_bytes", help="the engine's buffer of translated code", least=1, most=1 << 30),
    Option("cache_bytes", help="technique translate: the cache of translated kernel code", least=1 << 15, most=1 << 26),
    Option(INTERCEPT, type=str, help="technique hardware: what exits besides, such as cr3,rdtsc,pf"),
)


def control_block(technique: Technique, options: Mapping[str, Any]) -> ControlBlock | None:
    """The technique's control block with what the option turns on. Raises ValueError where it has none to turn on."""
    wanted = options.get(INTERCEPT)
    if not wanted:
        return technique.controls
    if technique.controls is None:
        raise ValueError(f"option {INTERCEPT}: technique {technique.name!r} has no control block; 'hardware' has")
    return intercept(technique.controls, wanted)


def engine_sizes(options: Mapping[str, Any], memory_bytes: int) -> dict[str, int]:
    """The engine's options for memory of so many bytes: as given, and as the memory's size has the others."""
    return {name: options.get(name) or size(memory_bytes) for name, size in ENGINE_OPTIONS.items()}


def cache_bytes(options: Mapping[str, Any]) -> int:
    """Bytes of the translation cache, in whole pages."""
    return int(options.get("cache_bytes") or CACHE_BYTES) & -PAGE_SIZE
