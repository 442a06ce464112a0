"""How a loaded guest comes to its first instruction: on page tables in its own memory, or on the monitor's.

Each way is a row of STARTS; what the machine looks like then is said in guest_sdk.abi.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from guest_sdk import abi
from pv.loaders import Image, Segment
from pv.loaders.boot import write_boot_tables
from pv.memory import GuestMemory


def start_guest(vcpu: Any, memory: GuestMemory, image: Image, boot: str) -> None:
    """Place `image` and set the processor's first state, by the technique's `boot`. Raises LoadError.

    vcpu: a Vcpu with start_guest_tables and start_monitor_tables.
    """
    image.place(memory)
    STARTS[boot](vcpu, memory, image)


def _on_guest_tables(vcpu: Any, memory: GuestMemory, image: Image) -> None:
    state = write_boot_tables(memory, image)
    vcpu.start_guest_tables(state.rip, state.rsp, state.cr3, state.gdt_base, state.gdt_limit)


def _on_monitor_tables(vcpu: Any, _memory: GuestMemory, image: Image) -> None:
    segments = [(segment.gpa, segment.size_bytes, map_flags(segment)) for segment in image.segments]
    vcpu.start_monitor_tables(image.entry, abi.BOOT_STACK_TOP, segments)


def map_flags(segment: Segment) -> int:
    """The segment's rights as abi.MAP_FLAGS."""
    wanted = {"MAP_PRESENT": True, "MAP_WRITE": segment.writable, "MAP_EXECUTE": segment.executable}
    return sum(abi.MAP_FLAGS[name] for name, on in wanted.items() if on)


STARTS: Final[Mapping[str, Callable[[Any, GuestMemory, Image], None]]] = {
    "guest tables": _on_guest_tables,
    "monitor tables": _on_monitor_tables,
}
