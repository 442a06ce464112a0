"""What of a chip is its state? A table of fields a class, and the rest named as wiring, so that none is forgotten.

A chip is saved as plain values: integers, booleans, None, bytes, text, lists and dictionaries of them. Restoring puts
them back and drives no line: what a line did is part of the other end's own state.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Protocol

from pv.devices.deadline import Deadline

State = dict[str, Any]


class StateError(ValueError):
    """A saved state that does not fit the chip: which field."""


class Stateful(Protocol):
    """What a snapshot asks of every part of a board."""

    def save(self) -> State: ...
    def restore(self, saved: State) -> None: ...


class SavedFields:
    """A part whose state is the attributes named in `saved_fields`; `wiring_fields` are all its others.

    A bytearray is saved as bytes, a Deadline as its moment and place in the clock's order. deadline_callbacks says
    which method each Deadline calls; saved_ranges, what those integers may be that anything is reckoned from.
    """

    saved_fields: ClassVar[tuple[str, ...]] = ()
    wiring_fields: ClassVar[tuple[str, ...]] = ()
    deadline_callbacks: ClassVar[dict[str, str]] = {}
    saved_ranges: ClassVar[dict[str, range]] = {}

    def save(self) -> State:
        return {name.lstrip("_"): plain(getattr(self, name)) for name in self.saved_fields}

    def restore(self, saved: State) -> None:
        """Raises StateError where a field is missing, of another type, or out of its range."""
        for name in self.saved_fields:
            old, new = getattr(self, name), saved.get(name.lstrip("_"), MISSING)
            if type(old) is type(new) and type(old) in PLAIN:  # nearly every field: a fork restores some hundred
                setattr(self, name, new)
                continue
            what = f"{type(self).__name__}.{name.lstrip('_')}"
            if isinstance(old, Deadline):
                old.restore(check_deadline(new, what), getattr(self, self.deadline_callbacks[name]))
            elif isinstance(old, bytearray):
                if not isinstance(new, bytes) or len(new) != len(old):
                    raise StateError(f"{what} is not {len(old)} bytes")
                old[:] = new
            else:
                setattr(self, name, check_like(new, old, what))
        for name, allowed in self.saved_ranges.items():
            check_range(getattr(self, name), allowed, f"{type(self).__name__}.{name.lstrip('_')}")


def part_of(saved: State, name: str, what: str) -> State:
    """The state of a part within a part. Raises StateError where it is missing."""
    state = saved.get(name)
    if not isinstance(state, dict):
        raise StateError(f"{what} has no {name}")
    return state


MOMENTS: Final = range(1 << 63)  # what the engine can be told of
MISSING: Final = object()
PLAIN: Final = (int, bool, type(None))


def plain(value: Any) -> Any:
    """A field as it is saved."""
    if isinstance(value, Deadline):
        return value.save()
    if isinstance(value, bytearray):
        return bytes(value)
    return list(value) if isinstance(value, list) else value


def check_like(new: Any, old: Any, what: str) -> Any:
    """`new`, where it may stand in place of `old`: an integer, a boolean or as many integers. Raises StateError."""
    if isinstance(old, list):
        if not isinstance(new, list) or [type(one) for one in new] != [type(one) for one in old]:
            raise StateError(f"{what} is not {len(old)} of {type(old[0]).__name__}")
        return list(new)
    if type(new) is not type(old) or not isinstance(new, int | None):
        raise StateError(f"{what} is {str(new)[:40]!r}, not of type {type(old).__name__}")
    return new


def check_range(value: Any, allowed: range, what: str) -> None:
    """Raises StateError where an integer, or one of a list of them, is not in `allowed`. None is: it is no number."""
    for one in value if isinstance(value, list) else (value,):
        if one is not None and one not in allowed:
            raise StateError(f"{what} is {str(one)[:40]}, not {allowed.start} to {allowed.stop - 1}")


def check_deadline(new: Any, what: str) -> tuple[int, int] | None:
    """A saved Deadline. Raises StateError."""
    if new is None:
        return None
    if not isinstance(new, list) or len(new) != 2 or not all(type(one) is int and one in MOMENTS for one in new):
        raise StateError(f"{what} is no deadline")
    return new[0], new[1]
