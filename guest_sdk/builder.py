"""How is a guest written in Python? Chunks of assembler, labelled data, hypercalls by name; out comes an ELF file.

Text is readable and executable, .rodata readable, data, .bss and the stack writable and never executable; each
section has pages of its own. A guest without `_start` gets the one of start.py, which calls `main`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from guest_sdk import abi, cache, elf
from guest_sdk.calls import PAGE_LABEL, Calls, NamedCall, as_call
from guest_sdk.constants import constants
from guest_sdk.errors import AssemblyError
from guest_sdk.expressions import NAME, parse
from guest_sdk.link import Image, link
from guest_sdk.sections import EXECUTE, PAGE, READ, WRITE, Piece, Section
from guest_sdk.start import STACK_BYTES, STACK_LABEL, start_code
from guest_sdk.syntax import Instruction, Item, Label, is_register, parse_text
from guest_sdk.verify import FORMATTER, decode

RET: Final = b"\xc3"
HYPERCALL, RODATA, DATA, BSS = ".hypercall", ".rodata", ".data", ".bss"
MOST_BSS: Final = 1 << 31
Values = Sequence[int | str]


class NamedBit(Protocol):
    """A feature bit of a plugin's own."""

    @property
    def name(self) -> str: ...
    @property
    def bit(self) -> int: ...


class GuestPlugin(Protocol):
    """What a guest takes from a plugin: hypercalls.Plugin has it."""

    @property
    def calls(self) -> Sequence[NamedCall]: ...
    @property
    def own_features(self) -> Sequence[NamedBit]: ...
    @property
    def guest_routines(self) -> Callable[[Any], None] | None: ...


class Guest:
    """A guest being written. Every method raises AssemblyError for what cannot be built.

    name: for messages. paravirt: carries the ABI note and may make hypercalls. base: gpa of the text, on a page.
    calls: hypercalls known by name beside the built-in ones: abi.Call rows, or a plugin's `calls`.
    plugins: whose calls and FEATURE_<NAME> masks are known, and whose routines are added to the text.
    """

    def __init__(
        self,
        name: str,
        *,
        paravirt: bool,
        base: int = abi.LOAD_FIRST,
        calls: Iterable[NamedCall] = (),
        plugins: Iterable[GuestPlugin] = (),
    ) -> None:
        if base % PAGE or base < abi.LOAD_FIRST:
            raise AssemblyError(f"base {base:#x} is not a page at or above {abi.LOAD_FIRST:#x}")
        self.name, self.paravirt, self.base = name, paravirt, base
        plugins = tuple(plugins)
        brought = [call for plugin in plugins for call in plugin.calls]
        table = {call.name: call for call in (*abi.CALLS, *map(as_call, (*brought, *calls)))}.values()
        self.call = Calls(self.asm, table, paravirt=paravirt)
        features = {feature.name: feature.bit for plugin in plugins for feature in plugin.own_features}
        self._constants = constants(table, features)
        self._names = dict.fromkeys(self._constants, "a constant of the ABI")
        self._source: list[str] = []
        self._items: list[Item] = []
        self._scope = ""
        flags = {HYPERCALL: READ | EXECUTE, RODATA: READ, DATA: READ | WRITE, BSS: READ | WRITE}
        self._sections = {section: Section(section, flag) for section, flag in flags.items()}
        if paravirt:
            self._add(HYPERCALL, Piece(PAGE_LABEL, PAGE, PAGE, RET * PAGE))
        for plugin in plugins:
            if plugin.guest_routines is not None:
                plugin.guest_routines(self)

    def asm(self, text: str) -> Guest:
        """Append Intel-syntax lines to the text. Labels are known in every chunk, before and after."""
        items, self._scope = parse_text(text, self._scope)
        for item in items:
            if isinstance(item, Label):
                self._claim(item.name, "a label", item.text)
        self._source.append(text)
        self._items += items
        return self

    def constant(self, name: str, value: int) -> Guest:
        """Give a number a name."""
        self._claim(name, "a constant")
        self._constants[name] = value
        return self

    def data(self, label: str, content: bytes | Sequence[int], align: int = 16) -> Guest:
        """Writable bytes."""
        return self._bytes(DATA, label, content, align)

    def rodata(self, label: str, content: bytes | Sequence[int], align: int = 16) -> Guest:
        """Bytes that cannot be written."""
        return self._bytes(RODATA, label, content, align)

    def string(self, label: str, text: str) -> Guest:
        """UTF-8 and a NUL in .rodata; the constant `<label>_bytes` is its length without the NUL."""
        encoded = text.encode()
        self._bytes(RODATA, label, encoded + b"\0", 1)
        return self.constant(f"{label}_bytes", len(encoded))

    def bss(self, label: str, size_bytes: int, align: int = 16) -> Guest:
        """Zeroes that take no space in the file."""
        if not 0 < size_bytes < MOST_BSS:
            raise AssemblyError(f"{label}: size of {size_bytes} bytes is not between 1 and {MOST_BSS}")
        return self._add(BSS, Piece(label, align, size_bytes, None))

    def quads(self, label: str, values: Values, align: int = 16, *, readonly: bool = False) -> Guest:
        """64-bit values: numbers, labels or expressions."""
        return self.fields(label, [(8, value) for value in values], align, readonly=readonly)

    def fields(
        self, label: str, fields: Iterable[tuple[int, int | str]], align: int = 16, *, readonly: bool = False
    ) -> Guest:
        """A packed record of (size_bytes, value), such as a descriptor: values as in `quads`."""
        content = tuple((size, parse(str(value), is_register)) for size, value in fields)
        if not content or any(not 0 < size <= 8 for size, _ in content):
            raise AssemblyError(f"{label}: fields of 1 to 8 bytes are needed, and at least one")
        piece = Piece(label, align, sum(size for size, _ in content), content)
        return self._add(RODATA if readonly else DATA, piece)

    def build(self) -> bytes:
        """The ELF file, from the cache where this very guest was built before."""
        name = cache.key(self._content())
        built = cache.load(name)
        if built is None:
            built = elf.write(self.link(), with_note=self.paravirt)
            cache.store(name, built)
        return built

    def link(self) -> Image:
        """Every section, label and instruction at its address."""
        items, sections = self._complete()
        try:
            return link(items, sections, self._constants, self.base)
        except AssemblyError as error:
            raise AssemblyError(f"guest {self.name}: {error.reason}", error.line) from None

    def listing(self) -> str:
        """Address, bytes, what they decode to, and the source of every instruction."""
        image = self.link()
        items, _ = self._complete()
        lines = []
        for item, (address, size) in zip(items, image.placed.spans, strict=True):
            if isinstance(item, Label):
                lines.append(f"{item.name}:")
                continue
            code = image.placed.code[address - self.base : address - self.base + size]
            plain = isinstance(item, Instruction) and not code.startswith(b"\x90")
            text = FORMATTER.format(decode(code, address)) if plain else ""
            lines.append(f"{address:8x}  {code[:12].hex():24}  {text:32}  ; {item.text}")
        return "\n".join(lines)

    def _complete(self) -> tuple[list[Item], list[Section]]:
        """What was written, with start code and stack where they are needed."""
        sections = [Section(s.name, s.flags, list(s.pieces)) for s in self._sections.values()]
        if "_start" in self._names:
            return self._items, sections
        if self._names.get("main") != "a label":
            raise AssemblyError(f"guest {self.name}: no label 'main' for _start to call")
        if STACK_LABEL in self._names:
            raise AssemblyError(f"guest {self.name}: {STACK_LABEL!r} is the start code's own label")
        start, _ = parse_text(start_code(paravirt=self.paravirt))
        sections[-1].pieces.insert(0, Piece(STACK_LABEL, 16, STACK_BYTES, None))
        return start + self._items, sections

    def _bytes(self, section: str, label: str, content: bytes | Sequence[int], align: int) -> Guest:
        try:
            content = bytes(content)
        except (ValueError, TypeError) as error:
            raise AssemblyError(f"{label}: {error}: bytes or a list of numbers from 0 to 255 are needed") from error
        if not content:
            raise AssemblyError(f"{label}: no bytes")
        return self._add(section, Piece(label, align, len(content), content))

    def _add(self, section: str, piece: Piece) -> Guest:
        self._claim(piece.label, f"a label in {section}")
        self._sections[section].add(piece)
        return self

    def _claim(self, name: str, what: str, line: str = "") -> None:
        if not _is_name(name):
            raise AssemblyError(f"{name!r} is no name: letters, digits and underscores are", line)
        if name in self._names:
            raise AssemblyError(f"{name!r} is already {self._names[name]}", line)
        self._names[name] = what

    def _content(self) -> str:
        constants = sorted(self._constants.items())
        sections = [(s.name, s.flags, s.pieces) for s in self._sections.values()]
        return repr((self.paravirt, self.base, self._source, constants, sections))


def _is_name(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None and not is_register(name.lower())
