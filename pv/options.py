"""What may be set by name on a machine? An option is a row: its type, bounds, default, and how a person writes it.

`Machine(options={"kvstore.limit": 20})` takes values of the type itself; the command line parses text. Whoever
declares an option reads machine.options["kvstore.limit"], which holds a value for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
SWITCH: Final = {
    "on": True,
    "yes": True,
    "true": True,
    "1": True,
    "off": False,
    "no": False,
    "false": False,
    "0": False,
}


def read_int(text: str) -> int:
    """A whole number as Python writes it: 20, 1_000, 0x14."""
    return int(text, 0)


def read_switch(text: str) -> bool:
    """on or off, and the usual other words."""
    return SWITCH[text.lower()]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type that an option may have: its words, and how its text is read (ValueError, KeyError where it cannot be)."""

    words: str
    read: Callable[[str], Any]


KINDS: Final[dict[type, Kind]] = {
    int: Kind("a whole number", read_int),
    float: Kind("a number", float),
    bool: Kind("on or off", read_switch),
    str: Kind("text", str),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One option. type: int, float, bool or str. default: None where it may stay unset. least, most: bounds, inclusive.

    choices: the only values. Raises ValueError, TypeError for a declaration that could never hold.
    """

    name: str
    type: type = int
    default: Any = None
    help: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(f"option name {self.name!r} is not of a-z, 0-9 and _, at most 63, a letter first")
        if self.type not in KINDS:
            raise TypeError(
                f"option {self.name!r}: type {self.type!r} is not one of {', '.join(k.__name__ for k in KINDS)}"
            )
        if self.type not in (int, float) and (self.least is not None or self.most is not None):
            raise TypeError(f"option {self.name!r}: least= and most= are for numbers")
        if not isinstance(self.choices, tuple | list):
            raise TypeError(f"option {self.name!r}: choices={self.choices!r} is no tuple")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"option {self.name!r}: nothing is from {self.least} to {self.most}")
        for value in self.choices:
            self.check(value)
        if self.default is not None:
            self.check(self.default)

    def check(self, value: Any, called: str = "") -> Any:
        """`value`, as the option's type. Raises ValueError, which names it `called`, for one that cannot be had."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        if self.type is float and whole:
            value = float(value)
        wrong = type(value) is not self.type or (self.choices and value not in self.choices)
        if not wrong and self.type in (int, float):
            # `not >=` and not `<`: a NaN is in no range
            wrong = value != value or not (self.least is None or value >= self.least)
            wrong = wrong or not (self.most is None or value <= self.most)
        if wrong:
            raise ValueError(f"option {called or self.name}={value!r} is not {self.describe()}")
        return value

    def parse(self, text: str, called: str = "") -> Any:
        """The value that `text` writes. Raises ValueError as check does."""
        try:
            value = KINDS[self.type].read(text.strip())
        except (ValueError, KeyError):
            raise ValueError(f"option {called or self.name}={text!r} is not {self.describe()}") from None
        return self.check(value, called)

    def show(self, value: Any) -> str:
        """`value` as a person writes it."""
        if value is None:
            return "unset"
        return ("off", "on")[value] if self.type is bool else str(value)

    def describe(self) -> str:
        """What its values are, in words."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        least, most = self.least, self.most
        if least is not None and most is not None:
            return f"{KINDS[self.type].words} from {least} to {most}"
        if least is not None:
            return f"{KINDS[self.type].words} from {least} on"
        return KINDS[self.type].words if most is None else f"{KINDS[self.type].words} up to {most}"


def settle_options(given: Any, known: Mapping[str, Option]) -> dict[str, Any]:
    """A value for each of `known`: what is given, checked, and the default where nothing is.

    Raises TypeError where `given` is no mapping, ValueError for a name that is not known and a value that cannot be.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"options={given!r} is not a mapping; write {{'PLUGIN.OPTION': value}}")
    settled = {name: option.default for name, option in known.items()}
    for name, value in given.items():
        option = find_option(name, known)
        settled[name] = None if value is None and option.default is None else option.check(value, name)
    return settled


def parse_options(texts: Iterable[str], known: Mapping[str, Option]) -> dict[str, Any]:
    """The values that texts of `NAME=VALUE` give. Raises ValueError as settle_options does, and for other texts."""
    parsed: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"option {text!r} has no value; write {text}=VALUE")
        if name in parsed:
            raise ValueError(f"option {name!r} is given twice")
        parsed[name] = find_option(name, known).parse(value, name)
    return parsed


def find_option(name: Any, known: Mapping[str, Option]) -> Option:
    """The option of that name. Raises ValueError, which names the nearest and all that are known."""
    if isinstance(name, str) and name in known:
        return known[name]
    near: list[str] = []
    if isinstance(name, str):  # a plugin's option without the plugin's name is the likeliest slip
        near = [one for one in known if one.endswith(f".{name}")] or get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"option {name!r} is not known{hint} (known: {', '.join(sorted(known)) or 'none'})")
