"""What would harm a handler, by the type of its argument: registers, and what the guest's memory holds there.

A row for each argument type there is; tests/fuzz/test_arguments.py fails for a type without one. A call is then covered
by its signature alone, a plugin's as well as a built-in one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from guest_sdk import abi
from hypercalls import Registry
from hypercalls.arguments import ArgumentType, BufferOut, BytesIn, Integer, RecordsIn, StringIn
from hypercalls.document import DocumentIn, DocumentOut
from hypercalls.registry import Listed
from pv.plugin import load_plugins
from tests.fuzz.genome import Genome
from tests.fuzz.instructions import DATA, MEMORY_BYTES, NUMBERS, PLACES, value

Plant = Callable[[int, bytes], None]  # puts bytes into guest memory before the guest starts
Generator = Callable[[Any, Genome, Plant], tuple[int, ...]]

AREA_BYTES: Final = 0x8000  # from DATA on: where arguments in memory lie

TEXTS: Final = (
    b"",
    b"exit",
    b"console_write",
    b"\0" * 8,
    b"\xff\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    b"a" * 4096,
    b"%s%n\n",
)
EXTENSIONS: Final = (
    "d4ff00",
    "d5000000",
    "d6ff00000000",
    "d7ff0000000000000000",
    "d801" + "00" * 16,
    "c70000",
    "c9ffffffff00",
)
DOCUMENTS: Final = (
    *(b"\x91" * depth + b"\xc0" for depth in (1, 31, 32, 33, 511, 512, 1023, 1024, 4096)),  # nested lists
    *(b"\x81\xa1a" * depth + b"\xc0" for depth in (31, 33, 1024)),  # nested maps
    *(bytes.fromhex(head + "ffffffff") for head in ("dd", "df", "db", "c6", "c9")),  # counts that nothing follows
    *(bytes.fromhex(head + "ffff") for head in ("dc", "de", "da", "c5")),
    *((b"\xdc\x10\x00" * 30) + b"\xc0" * 64, b"\xdd\x00\x00\x10\x00" + b"\xdd\x00\x00\x10\x00" * 100),
    *(bytes.fromhex(text) for text in EXTENSIONS),
    *(
        b"\xc1",
        b"",
        b"\x81\x01\x02",
        b"\x81\xc0\xc0",
        b"\x81\x90\x01",
        b"\x82\xa1a\x01\xa1a\x02",
        b"\xa4\xff\xff\xff\xff",
    ),
    *(b"\xcb\x7f\xf8" + bytes(6), b"\xcb\xff\xf0" + bytes(6), b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7)),
    *(b"\x83\xa4type\xa3abc\xa4size\xcd\x10\x00\xa4data\xc4\x04abcd", b"\x90", b"\x80", b"\xc0", b"\xc3\xc3"),
)
LENGTHS: Final = (
    0,
    1,
    7,
    8,
    9,
    63,
    64,
    65,
    4095,
    4096,
    4097,
    65535,
    65536,
    65537,
    1 << 20,
    (1 << 20) + 1,
    1 << 63,
    (1 << 64) - 1,
)


def spot(genome: Genome) -> int:
    """A gpa in the area, mostly at the start of something."""
    return DATA + (genome.number(2) & (AREA_BYTES - 1) & ~genome.choose((0, 7, 63, 4095)))


def span(genome: Genome, plant: Plant, content: bytes) -> tuple[int, int]:
    """Registers of a span: mostly of `content`, as long as it is; else one that lies, or leads nowhere."""
    kind = genome.number() % 8
    if kind < 5:
        gpa = spot(genome)
        plant(gpa, content)
        return gpa, len(content)
    if kind == 5:
        return spot(genome), genome.choose(LENGTHS)
    if kind == 6:
        return MEMORY_BYTES - genome.number() % 70, genome.number() % 140
    return value(genome), genome.choose(LENGTHS)


def words(genome: Genome, count: int) -> bytes:
    """Hostile words of 64 bits."""
    return b"".join(value(genome).to_bytes(8, "little") for _ in range(count))


def integer(kind: Integer, genome: Genome, plant: Plant) -> tuple[int, ...]:
    """A number, or the address of an array: of calls, updates, or whatever the handler takes the words for."""
    choice = genome.number() % 4
    if choice == 0:
        return (genome.choose(NUMBERS),)
    if choice == 1:
        return (genome.choose(range(0, 64)) & (1 << kind.bits) - 1,)
    if choice == 2 and kind.bits == 64:
        gpa = spot(genome)
        numbers = [call.number for call in abi.CALLS]
        entry = genome.choose(numbers).to_bytes(8, "little") + words(genome, 7)
        plant(gpa, entry * (1 + genome.number() % 3))
        return (gpa,)
    return (value(genome),)


def bytes_in(kind: BytesIn, genome: Genome, plant: Plant) -> tuple[int, ...]:
    return span(genome, plant, genome.choose((*TEXTS, bytes(min(kind.most, 8192)), genome.bytes(40))))


def string_in(_kind: StringIn, genome: Genome, plant: Plant) -> tuple[int, ...]:
    return span(genome, plant, genome.choose((*TEXTS, genome.bytes(12))))


def records_in(kind: RecordsIn, genome: Genome, plant: Plant) -> tuple[int, ...]:
    """An array of structures, each field of its width hostile; the count is of structures."""
    record = b"".join((value(genome) & (1 << 8 * size) - 1).to_bytes(size, "little") for _, size in kind.layout.fields)
    count = 1 + genome.number() % 4
    gpa, size_bytes = span(genome, plant, record * count)
    told = genome.choose((count, count, count, size_bytes, kind.most, kind.most + 1, 1 << 60, (1 << 64) - 1))
    return gpa, told


def document_in(_kind: DocumentIn, genome: Genome, plant: Plant) -> tuple[int, ...]:
    document = genome.choose(DOCUMENTS)
    if genome.chance(80):
        document = document[: genome.number()] + genome.bytes(genome.number() % 8)
    return span(genome, plant, document)


def buffer_out(_kind: BufferOut | DocumentOut, genome: Genome, plant: Plant) -> tuple[int, ...]:
    """Somewhere to write: over code, stack, tables and shared pages too."""
    if genome.chance(128):
        return genome.choose(PLACES), genome.choose(LENGTHS)
    return span(genome, plant, bytes(genome.number()))


GENERATORS: Final[dict[type[Any], Generator]] = {
    Integer: integer,
    BytesIn: bytes_in,
    StringIn: string_in,
    RecordsIn: records_in,
    DocumentIn: document_in,
    BufferOut: buffer_out,
    DocumentOut: buffer_out,
}


def hostile(kind: ArgumentType, genome: Genome, plant: Plant) -> tuple[int, ...]:
    """Registers for an argument of `kind`, as many as it takes. Raises KeyError for a type without a generator."""
    return GENERATORS[type(kind)](kind, genome, plant)


def installed_calls() -> tuple[Listed, ...]:
    """Every call of every installed plugin."""
    return tuple(Registry(loaded.plugin for loaded in load_plugins().plugins))
