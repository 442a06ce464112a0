"""Small machines for tests of the native core: assembled text, a machine around it, and calls that the host answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from keystone import KS_ARCH_X86, KS_MODE_64, Ks

from pv.dispatch import Row, Shape
from pv.exits import Reason
from pv.machine import Machine

BASE = 0x100000  # where a flat image is loaded and starts
PAGE = 4096
FIRST_CALL = 0x8001


@functools.lru_cache(maxsize=4096)
def assemble(text: str, at: int = BASE) -> bytes:
    """The bytes of Intel-syntax `text` at `at`."""
    code, _ = Ks(KS_ARCH_X86, KS_MODE_64).asm(text, at)
    return bytes(code)


def machine(guest: str | bytes, technique: str = "trap", memory: str | int = "16MiB", **options: Any) -> Machine:
    """A loaded machine: `guest` is text to assemble, or code. Without plugins, unless it is told otherwise."""
    made = Machine(memory=memory, technique=technique, **{"plugins": False, **options})
    made.load(assemble(guest) if isinstance(guest, str) else guest)
    return made


def exit_with(status: int) -> str:
    """Text that ends an unmodified guest with `status`."""
    return f"mov al, {status}; out 0xf4, al"


class HostCalls:
    """A plugin of hypercalls without arguments: 0x8001 and on, in the order of `functions`."""

    name = "host"

    def __init__(self, *functions: Callable[[], Any]) -> None:
        self.functions = functions

    def rows(self, _machine: Machine) -> Iterator[Row]:
        for number, function in enumerate(self.functions, FIRST_CALL):
            yield Row(Reason.VMCALL, number, number, function, self.name, f"call_{number:x}", Shape.CALL)


def call(number: int) -> str:
    """Text that makes the host call `number`, the first being 0."""
    return f"mov eax, {FIRST_CALL + number}; vmcall"
