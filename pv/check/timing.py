"""What may differ between two runs only because their time passes differently? Declared here, and nowhere else.

Virtual time moves on by 1 us an exit, and techniques differ in their exits: so a timer fires at another instruction, a
counter reads another value, and what an interrupt finds on the stack is something else. Compared all the same is
everything but this:

- TIMING_DEVICES: what is read from them never; what is written to them until a timer has fired in either run, and of
  what is written to COUNTS that it is written: a guest reckons from the time it reads.
- TIMING_CHIPS: the final state of those that count; of CHIPS_OF_INTERRUPTS once a timer has fired.
- What the guest names: symbols of its ELF file that begin with SYMBOL_PREFIX, each the memory of its size; one whose
  name goes on with that of a register, such as timing_r12, that register.
- What a person names: `--ignore` an area of memory, a symbol, a device or a register.

UNSEEN is no timing: accesses that a technique leaves to the processor, which no monitor can record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from pv.loaders.elf_symbols import sized_symbols

TIMING_DEVICES: Final = frozenset({"8254", "MC146818", "port B", "master 8259", "slave 8259", "local APIC"})
COUNTS: Final = frozenset({0x40, 0x41, 0x42, 0xFEE0_0380})  # the 8254's counters; the local APIC's initial count
TIMING_CHIPS: Final = frozenset({"pit", "rtc"})
CHIPS_OF_INTERRUPTS: Final = frozenset({"master", "slave", "apic"})
SYMBOL_PREFIX: Final = "timing_"
ELF_MAGIC: Final = b"\x7fELF"
UNSEEN: Final[Mapping[str, frozenset[str]]] = {"hardware-apicv": frozenset({"local APIC"})}  # by technique


@dataclass(frozen=True, slots=True)
class Area:
    """`size_bytes` of guest memory from `gpa` that are not compared."""

    gpa: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """What a person, or the guest, leaves out of the comparison."""

    areas: tuple[Area, ...] = ()
    devices: frozenset[str] = frozenset()
    registers: frozenset[str] = frozenset()

    def __or__(self, other: Ignored) -> Ignored:
        return Ignored(self.areas + other.areas, self.devices | other.devices, self.registers | other.registers)


def named_by_guest(image: bytes, registers: Collection[str]) -> Ignored:
    """What a guest's own symbols leave out."""
    symbols = _symbols(image)
    named = {name.removeprefix(SYMBOL_PREFIX): area for name, area in symbols.items() if name.startswith(SYMBOL_PREFIX)}
    areas = tuple(area for name, area in named.items() if name not in registers and area.size_bytes)
    return Ignored(areas=areas, registers=frozenset(named) & frozenset(registers))


def _symbols(image: bytes) -> dict[str, Area]:
    """The symbols of an ELF file with what they name; none where there are none."""
    if not image.startswith(ELF_MAGIC):
        return {}
    try:
        found = sized_symbols(ELFFile(BytesIO(image)), image)
    except ELFError:
        return {}  # the loader says what is wrong with it
    return {name: Area(gpa, size) for name, (gpa, size) in found.items()}


def read_ignored(texts: Iterable[str], image: bytes, registers: Iterable[str], devices: Iterable[str]) -> Ignored:
    """What `texts` name: GPA+SIZE, a symbol with a size, a device or a register. Raises ValueError."""
    registers, devices, ignored, symbols = frozenset(registers), frozenset(devices), Ignored(), _symbols(image)
    for text in texts:
        if text in registers:
            ignored |= Ignored(registers=frozenset({text}))
        elif text in devices:
            ignored |= Ignored(devices=frozenset({text}))
        elif text in symbols and symbols[text].size_bytes:
            ignored |= Ignored(areas=(symbols[text],))
        elif areas := read_area(text):
            ignored |= Ignored(areas=areas)
        else:
            raise ValueError(
                f"--ignore {text!r} is no GPA+SIZE (0x5000+64), no symbol of the guest that has a size, no register "
                f"and no device ({', '.join(sorted(devices))})"
            )
    return ignored


def read_area(text: str) -> tuple[Area, ...]:
    """The area that GPA+SIZE names, in any base that Python reads; none where the text is something else."""
    gpa, plus, size = text.partition("+")
    try:
        area = Area(int(gpa, 0), int(size, 0))
    except ValueError:
        return ()
    return (area,) if plus and area.gpa >= 0 and area.size_bytes > 0 else ()
