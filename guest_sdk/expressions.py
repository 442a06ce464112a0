"""What is an operand worth? Integer expressions over names, with registers kept as linear terms.

`label + 8`, `handler >> 16 & 0xffff`, `rax*8 + table - 4`. Operators and their precedence are Python's, `/` is
the integer division. A value is a constant and the coefficients of registers, so that one evaluator serves
immediates and memory operands. The text is parsed once; evaluation repeats as addresses settle.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from guest_sdk.errors import AssemblyError

Lookup = Callable[[str], int]
NAME: Final = r"\.?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?"
TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*)(?![A-Za-z0-9_])"
    rf"|(?P<char>'(?:\\.|[^'\\])')|(?P<name>{NAME})|(?P<op><<|>>|[-+*/%&|^~()]))"
)
ESCAPES: Final = {"n": 10, "r": 13, "t": 9, "0": 0, "\\": 92, "'": 39}
MOST_BITS: Final = 128  # of an intermediate value: a shift must not eat the host's memory

BINARY: Final[dict[str, tuple[int, Callable[[int, int], int]]]] = {
    "|": (1, operator.or_),
    "^": (2, operator.xor),
    "&": (3, operator.and_),
    "<<": (4, operator.lshift),
    ">>": (4, operator.rshift),
    "+": (5, operator.add),
    "-": (5, operator.sub),
    "*": (6, operator.mul),
    "/": (6, operator.floordiv),
    "%": (6, operator.mod),
}
UNARY: Final[dict[str, Callable[[int], int]]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}


@dataclass(frozen=True, slots=True)
class Linear:
    """constant + the sum of coefficient * register."""

    constant: int
    registers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """op 'number', 'name', 'register', or an operator over `parts`."""

    op: str
    value: int = 0
    name: str = ""
    parts: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression and the names it needs, registers not among them."""

    text: str
    root: Node
    names: frozenset[str]

    def evaluate(self, lookup: Lookup) -> Linear:
        """Its value. Raises AssemblyError; what `lookup` raises for an unknown name passes through."""
        return _evaluate(self.root, lookup)

    def integer(self, lookup: Lookup) -> int:
        """Its value where no register may take part."""
        value = self.evaluate(lookup)
        if value.registers:
            raise AssemblyError(f"{self.text!r} needs a number, not a register")
        return value.constant


class _Parser:
    def __init__(self, text: str, is_register: Callable[[str], bool]) -> None:
        self.text, self.is_register = text, is_register
        self.names: set[str] = set()
        self.tokens: list[tuple[str, str]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            match = TOKEN.match(text, at)
            if not match or not match.lastgroup:
                raise AssemblyError(f"{text[at:].strip()!r} in {text!r} is no number, name or operator")
            self.tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self.tokens.append(("end", ""))
        self.at = 0

    def take(self) -> tuple[str, str]:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def fail(self, token: tuple[str, str]) -> AssemblyError:
        return AssemblyError(f"unexpected {token[1] or 'end'!r} in {self.text!r}")

    def primary(self) -> Node:
        token = kind, text = self.take()
        if kind == "number":
            try:
                return Node("number", int(text, 0))
            except ValueError as error:  # 010 and the like: octal to C, decimal to a reader
                raise AssemblyError(f"{text!r} is no number: write 0o for octal, no leading zeros") from error
        if kind == "char":
            body = text[1:-1]
            if body[0] == "\\" and body[1] not in ESCAPES:
                raise AssemblyError(f"unknown escape {body!r}")
            return Node("number", ESCAPES[body[1]] if body[0] == "\\" else ord(body))
        if kind == "name":
            if self.is_register(text.lower()):
                return Node("register", name=text.lower())
            self.names.add(text)
            return Node("name", name=text)
        if text == "(":
            inside = self.binary(1)
            if self.take()[1] != ")":
                raise AssemblyError(f"unbalanced parenthesis in {self.text!r}")
            return inside
        if kind == "op" and text in UNARY:
            return Node(text, parts=(self.primary(),))
        raise self.fail(token)

    def binary(self, least: int) -> Node:
        left = self.primary()
        while (op := self.tokens[self.at][1]) in BINARY and BINARY[op][0] >= least:
            self.at += 1
            left = Node(op, parts=(left, self.binary(BINARY[op][0] + 1)))
        return left


@lru_cache(maxsize=1 << 16)
def parse(text: str, is_register: Callable[[str], bool] = lambda _: False) -> Expression:
    """The expression in `text`. Raises AssemblyError."""
    parser = _Parser(text, is_register)
    root = parser.binary(1)
    if parser.tokens[parser.at][0] != "end":
        raise parser.fail(parser.tokens[parser.at])
    return Expression(text.strip(), root, frozenset(parser.names))


def _evaluate(node: Node, lookup: Lookup) -> Linear:
    if node.op == "number":
        return Linear(node.value)
    if node.op == "name":
        return Linear(lookup(node.name))
    if node.op == "register":
        return Linear(0, ((node.name, 1),))
    parts = [_evaluate(part, lookup) for part in node.parts]
    if any(part.registers for part in parts):
        return _combine(node.op, parts)
    if len(parts) == 1:
        return Linear(UNARY[node.op](parts[0].constant))
    left, right = parts[0].constant, parts[1].constant
    if node.op in "/%" and not right:
        raise AssemblyError("division by zero")
    if node.op in ("<<", ">>") and not 0 <= right < MOST_BITS:
        raise AssemblyError(f"shift by {right} is not between 0 and {MOST_BITS - 1}")
    value = BINARY[node.op][1](left, right)
    if value.bit_length() > MOST_BITS:
        raise AssemblyError(f"a value of more than {MOST_BITS} bits")
    return Linear(value)


def _combine(op: str, parts: list[Linear]) -> Linear:
    """Sums and products in which registers take part, as an effective address has them."""
    if op == "*" and len(parts) == 2 and not (parts[0].registers and parts[1].registers):
        factor, linear = (parts[1], parts[0]) if parts[0].registers else (parts[0], parts[1])
        scaled = tuple((name, scale * factor.constant) for name, scale in linear.registers)
        return Linear(linear.constant * factor.constant, scaled)
    if op in "+-" and (len(parts) == 2 or op == "+"):
        sign = -1 if op == "-" else 1
        total: dict[str, int] = dict(parts[0].registers)
        for name, scale in parts[1].registers if len(parts) == 2 else ():
            total[name] = total.get(name, 0) + sign * scale
        constant = parts[0].constant + sign * (parts[1].constant if len(parts) == 2 else 0)
        return Linear(constant, tuple((name, scale) for name, scale in total.items() if scale))
    raise AssemblyError(f"{op!r} cannot take a register")
