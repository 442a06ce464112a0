"""Which address does every label get? Text first, the other sections behind it, until nothing moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from guest_sdk.errors import AssemblyError
from guest_sdk.layout import MOST_ROUNDS, SETTLE_ROUNDS, Placed, guess, place
from guest_sdk.sections import EXECUTE, READ, Section, page_after
from guest_sdk.syntax import Item, Label

TEXT: Final = ".text"
HIGHEST: Final = 1 << 31  # a label must fit in a disp32 and in an imm32 that is sign-extended


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str
    address: int
    size_bytes: int
    section: str
    local: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """One section as it is in memory: `data` may be shorter than `size_bytes`, the rest is zero."""

    name: str
    address: int
    flags: int
    data: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Image:
    sections: tuple[Loaded, ...]
    symbols: tuple[Symbol, ...]
    placed: Placed


class _Names:
    """What a name is worth in the current round."""

    def __init__(self, constants: Mapping[str, int], labels: dict[str, int]) -> None:
        self.constants, self.labels = constants, labels

    def __call__(self, name: str) -> int:
        value = self.constants.get(name)
        if value is None:
            value = self.labels.get(name)
        if value is None:
            raise AssemblyError(f"undefined label or constant {name!r}")
        return value


def _arrange(sections: Sequence[Section], address: int) -> tuple[dict[str, int], dict[str, int]]:
    """Start addresses of sections, and addresses of labels, from `address` on."""
    starts, labels = {}, {}
    for section in sections:
        address = page_after(address)
        starts[section.name] = address
        for at, piece in section.offsets():
            labels[piece.label] = address + at
        address += section.size_bytes
    if address >= HIGHEST:
        raise AssemblyError(f"the guest ends at {address:#x}, beyond the 2 GiB that a label can name")
    return starts, labels


def link(items: list[Item], sections: Sequence[Section], constants: Mapping[str, int], base: int) -> Image:
    """Place text at `base` and `sections` behind it. Raises AssemblyError."""
    text_labels = guess(items, base)
    starts, data_labels = _arrange(sections, base + len(items))
    names = _Names(constants, text_labels | data_labels)
    longest: list[int] = []
    for count in range(MOST_ROUNDS):
        placed = place(items, base, names, names.labels, longest)
        starts, data_labels = _arrange(sections, base + len(placed.code))
        settled = names.labels == placed.labels | data_labels
        names.labels = placed.labels | data_labels
        if settled:
            break
        if count >= SETTLE_ROUNDS:
            sizes = [size for _, size in placed.spans]
            longest = [max(pair) for pair in zip(longest or sizes, sizes, strict=True)]
    else:
        raise AssemblyError(f"addresses do not settle in {MOST_ROUNDS} rounds: a size depends on itself")
    loaded = [Loaded(TEXT, base, READ | EXECUTE, placed.code, len(placed.code))]
    loaded += [
        Loaded(section.name, starts[section.name], section.flags, section.render(names), section.size_bytes)
        for section in sections
        if section.size_bytes
    ]
    symbols = _text_symbols(items, placed, base) + [
        Symbol(piece.label, starts[section.name] + at, piece.size_bytes, section.name, False)
        for section in sections
        for at, piece in section.offsets()
    ]
    return Image(tuple(loaded), tuple(symbols), placed)


def _text_symbols(items: list[Item], placed: Placed, base: int) -> list[Symbol]:
    """A label's size reaches to the next label that is not local."""
    symbols, end = [], base + len(placed.code)
    for item, (address, _) in zip(reversed(items), reversed(placed.spans), strict=True):
        if isinstance(item, Label):
            local = "." in item.name
            symbols.append(Symbol(item.name, address, 0 if local else end - address, TEXT, local))
            end = end if local else address
    return symbols[::-1]
