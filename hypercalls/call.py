"""What a hypercall is, and the decorator that makes one of a function.

The decorator reads the annotations, checks number and name, and refuses what could not work; binding it to
a machine gives one row of the dispatch table.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from guest_sdk import abi
from hypercalls.arguments import Registers
from hypercalls.machine_view import MachineView
from hypercalls.signature import Signature, read_signature
from pv.dispatch import Row, Shape
from pv.exits import Reason

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")  # it becomes a C identifier in generated headers


@dataclass(frozen=True, slots=True)
class Hypercall:
    """One hypercall: a function and how a guest reaches it.

    result: what a guest finds in RAX, in words. user_allowed: whether CPL 3 may ask.
    batchable: false where the call moves the guest's control flow, so that a multicall must refuse it.
    Calling the object calls the function, with values: so tests need no guest.
    """

    number: int
    name: str
    fn: Callable[..., Any]
    signature: Signature
    result: str = ""
    user_allowed: bool = False
    batchable: bool = True

    def __call__(self, *values: Any) -> Any:
        return self.fn(*values)

    @property
    def arguments(self) -> Registers:
        """(name, bits) of every register argument."""
        return self.signature.arguments

    @property
    def doc(self) -> str:
        """What the call does: the function's docstring."""
        return inspect.getdoc(self.fn) or ""

    @property
    def owner(self) -> str:
        """Who is named in a collision when no plugin claims the call: the function itself."""
        return f"{self.fn.__module__}.{self.fn.__qualname__}"

    def rows(self, machine: MachineView, owner: str = "") -> Iterator[Row]:
        """The one row of this call, bound to `machine`."""
        yield Row(
            reason=Reason.VMCALL,
            first=self.number,
            last=self.number,
            handler=self.signature.bind(self.fn, machine),
            owner=owner or self.owner,
            name=self.name,
            shape=Shape.CALL,
            argument_bits=tuple(bits for _, bits in self.arguments),
            user_allowed=self.user_allowed,
            batchable=self.batchable,
        )


def hypercall(
    number: int, name: str, *, user_allowed: bool = False, batchable: bool = True, result: str = ""
) -> Callable[[Callable[..., Any]], Hypercall]:
    """Make a hypercall of `def handler(machine, ...)`, each parameter annotated with an argument type.

    The handler gives an int (0..2**63-1, or a negated errno), a pv.exits.Reply, or nothing, which is 0; it may
    raise GuestError(errno). Raises ValueError for a number or name that cannot be had, TypeError for a signature.
    """

    def decorate(fn: Callable[..., Any]) -> Hypercall:
        check_name(name)
        check_function(fn, name)
        check_number(number, name, built_in=str(fn.__module__).partition(".")[0] == __package__)
        return Hypercall(number, name, fn, read_signature(fn, name), result, user_allowed, batchable)

    return decorate


def check_name(name: str) -> None:
    """Raises ValueError unless a header can hold `name`."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"hypercall name {name!r} is not of a-z, 0-9 and _, at most 63, a letter first")


def check_function(fn: Any, name: str) -> None:
    """Raises TypeError for what is no function that answers when it is called."""
    if not inspect.isroutine(fn):
        raise TypeError(f"hypercall {name!r}: {fn!r} is no function; write def {name}(machine, ...)")
    if inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"hypercall {name!r}: {fn.__qualname__}() answers later, by await or yield; a guest waits")


def check_number(number: int, name: str, *, built_in: bool) -> None:
    """Raises ValueError unless `number` lies in the range that is its owner's."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 0 or number >> 31:
        raise ValueError(f"hypercall {name!r}: number {number!r} is not an integer of 31 bits (bit 31 stays clear)")
    first, last = (abi.BUILT_IN_FIRST, abi.BUILT_IN_LAST) if built_in else (abi.PLUGIN_FIRST, abi.PLUGIN_LAST)
    if first <= number <= last:
        return
    whose = "pvkit's own" if abi.BUILT_IN_FIRST <= number <= abi.BUILT_IN_LAST else "not a plugin's"
    raise ValueError(f"hypercall {name!r}: number {number:#x} is {whose}; use {first:#x}-{last:#x}")
