"""What does a line of guest source say? Intel syntax, one instruction a line, parsed before any assembler sees it.

    label: .local: lock inc qword ptr gs:[table + rax*8]   ; comments by ; or #

A label that starts with a dot belongs to the last one that does not. Directives: `.align N`, `.byte`, `.word`,
`.long`, `.quad` with expressions. What is parsed here is later held against what the processor will decode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import iced_x86

from guest_sdk.errors import AssemblyError
from guest_sdk.expressions import NAME, Expression, Lookup, parse

# iced-x86 numbers registers by int at run time, by a class of its own to a type checker.
REGISTERS: Final[dict[str, Any]] = {
    name.lower(): value
    for name, value in vars(iced_x86.Register).items()
    if name.isupper() and isinstance(value, int) and not re.match(r"NONE|TR\d|DONTUSE", name)
}
REGISTERS.update({f"r{n}b": REGISTERS[f"r{n}l"] for n in range(8, 16)})
REGISTERS.update({f"st({n})": REGISTERS[f"st{n}"] for n in range(8)})
SEGMENTS: Final = ("es", "cs", "ss", "ds", "fs", "gs")
SIZES: Final = {
    "byte": 1, "word": 2, "dword": 4, "fword": 6, "qword": 8, "tbyte": 10,
    "xmmword": 16, "oword": 16, "ymmword": 32, "zmmword": 64,
}  # fmt: skip
KEYWORDS: Final = {1: "byte", 2: "word", 4: "dword", 6: "fword", 8: "qword", 10: "tbyte", 16: "xmmword",
                   32: "ymmword", 64: "zmmword"}  # fmt: skip
PREFIXES: Final = {"lock": "lock", "rep": "rep", "repe": "rep", "repz": "rep", "repne": "repne", "repnz": "repne"}
DIRECTIVES: Final = {".align": 0, ".byte": 1, ".word": 2, ".long": 4, ".quad": 8}

LABEL: Final = re.compile(r"\s*(\.?[A-Za-z_][A-Za-z0-9_]*)\s*:(?!\s*\[)")
COMMENT: Final = re.compile(r"((?:'(?:\\.|[^'\\])'|[^;#'])*)")
MEMORY: Final = re.compile(
    rf"(?:(?P<size>{'|'.join(SIZES)})\s+(?:ptr\s+)?)?(?:(?P<segment>[cdefgs]s)\s*:\s*)?\[(?P<inside>[^\[\]]*)\]",
    re.IGNORECASE,
)
LOCAL: Final = re.compile(rf"'(?:\\.|[^'\\])'|(?<![\w.]){NAME}")


@dataclass(frozen=True, slots=True)
class Register:
    name: str


@dataclass(frozen=True, slots=True)
class Immediate:
    value: int


@dataclass(frozen=True, slots=True)
class Memory:
    """[terms + displacement]; size_bytes 0 and segment "" where the source leaves them out."""

    size_bytes: int
    segment: str
    terms: tuple[tuple[str, int], ...]
    displacement: int


Operand = Register | Immediate | Memory


@dataclass(frozen=True, slots=True)
class Source:
    """An operand before its names have values: `memory` is (size_bytes, segment) for one in brackets."""

    expression: Expression
    memory: tuple[int, str] | None = None

    def resolve(self, lookup: Lookup, is_label: frozenset[str] | dict[str, int]) -> Operand:
        value = self.expression.evaluate(lookup)
        if self.memory is None:
            if value.registers:
                raise AssemblyError(f"{self.expression.text!r}: arithmetic on a register needs brackets")
            return Immediate(value.constant)
        terms, displacement = value.registers, value.constant
        if dict(terms).get("rip") == 1 and any(name in is_label for name in self.expression.names):
            # [rip + label] is the label's place, whatever the distance
            terms = tuple(term for term in terms if term[0] != "rip")
        return Memory(*self.memory, terms, displacement)


@dataclass(frozen=True, slots=True)
class Instruction:
    text: str
    prefixes: tuple[str, ...]
    mnemonic: str
    operands: tuple[Register | Source, ...]


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Directive:
    """unit_bytes 0 aligns to values[0]; any other lays down each value in so many bytes."""

    text: str
    unit_bytes: int
    values: tuple[Expression, ...]


Item = Instruction | Label | Directive


def is_register(name: str) -> bool:
    return name in REGISTERS


def parse_text(text: str, scope: str = "") -> tuple[list[Item], str]:
    """The items in `text` and the label that now owns local ones. Raises AssemblyError naming the line."""
    items: list[Item] = []
    for line in text.splitlines():
        try:
            for item in _parse_line(line, scope):
                if isinstance(item, Label) and "." not in item.name:
                    scope = item.name
                items.append(item)
        except AssemblyError as error:
            raise AssemblyError(error.reason, error.line or line) from error
    return items, scope


def _parse_line(line: str, scope: str) -> Iterator[Item]:
    match = COMMENT.match(line)
    rest = match[1] if match else ""
    while (match := LABEL.match(rest)) and match[1].lower() not in SEGMENTS:
        name = match[1]
        if is_register(name.lower()):
            raise AssemblyError(f"label {name!r} is the name of a register")
        scope = scope if name.startswith(".") else name
        yield Label(qualify(name, scope), line)
        rest = rest[match.end() :]
    rest = rest.strip()
    if not rest:
        return
    words = rest.split(None, 1)
    if words[0].lower() in DIRECTIVES:
        values = tuple(_expression(value, scope) for value in split(words[1] if len(words) > 1 else ""))
        if not values or (words[0].lower() == ".align" and len(values) != 1):
            raise AssemblyError(f"{words[0]} needs {'one value' if words[0] == '.align' else 'values'}")
        yield Directive(line.strip(), DIRECTIVES[words[0].lower()], values)
        return
    if words[0].startswith("."):
        raise AssemblyError(f"unknown directive {words[0]!r}; there are {', '.join(DIRECTIVES)}")
    prefixes = []
    while words[0].lower() in PREFIXES:
        prefixes.append(PREFIXES[words[0].lower()])
        if len(words) == 1:
            raise AssemblyError(f"prefix {words[0]!r} without an instruction")
        words = words[1].split(None, 1)
    if len(set(prefixes)) != len(prefixes) or {"rep", "repne"} <= set(prefixes):
        raise AssemblyError("prefixes that repeat or contradict each other")
    operands = tuple(_operand(part, scope) for part in split(words[1])) if len(words) > 1 else ()
    yield Instruction(line.strip(), tuple(prefixes), words[0].lower(), operands)


def qualify(name: str, scope: str) -> str:
    """A local label's full name."""
    if not name.startswith("."):
        return name
    if not scope:
        raise AssemblyError(f"local label {name!r} before any other label")
    return scope + name


def split(text: str) -> list[str]:
    """Operands at top-level commas."""
    parts, depth, start, quoted = [], 0, 0, False
    for at, letter in enumerate(text):
        if letter == "'" and text[at - 1] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (letter in "([") - (letter in ")]")
            if letter == "," and not depth:
                parts.append(text[start:at])
                start = at + 1
    parts.append(text[start:])
    if len(parts) == 1 and not parts[0].strip():
        return []
    return [part.strip() for part in parts]


def _expression(text: str, scope: str) -> Expression:
    if "." in text and scope:
        text = LOCAL.sub(lambda m: scope + m[0] if m[0].startswith(".") else m[0], text)
    return parse(text, is_register)


def _operand(text: str, scope: str) -> Register | Source:
    if text.lower() in REGISTERS:
        return Register(text.lower())
    match = MEMORY.fullmatch(text)
    if match:
        size = SIZES[match["size"].lower()] if match["size"] else 0
        return Source(_expression(match["inside"], scope), (size, (match["segment"] or "").lower()))
    text = re.sub(r"^offset\s+", "", text, flags=re.IGNORECASE)
    return Source(_expression(text, scope))
