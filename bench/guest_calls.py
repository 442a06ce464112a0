"""Calls from the host into a guest, as the suite measures them: rows, and a guest whose functions they call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from guest_sdk import Guest
from hypercalls import hypercall
from hypercalls.machine_view import MachineView
from pv.document import Document
from pv.guest_call import GuestFunction
from pv.machine import Machine

FROM_HANDLER: Final = 0x8F10
FUNCTIONS: Final = """
main:
    mov eax, FROM_HANDLER
    vmcall
    xor eax, eax
    ret
null:
    xor eax, eax
    ret
echo:
    mov rax, rdi
    mov rdx, rsi
    ret
"""


@dataclass(frozen=True, slots=True)
class CallRow:
    """One row. inside: made in a hypercall's handler; else between two runs."""

    kind: str
    function: str
    arguments: tuple[Any, ...]
    returns: Any
    inside: bool = False


ROWS: Final = (
    CallRow("a guest function, null", "null", (), int),
    CallRow("a guest function, null, from a handler", "null", (), int, inside=True),
    CallRow("a guest function, 64 bytes both ways", "echo", (bytes(64),), bytes),
    CallRow("a guest function, a document both ways", "echo", (Document({"a": 1, "b": [2, 3]}),), Document),
)


@cache
def image() -> bytes:
    """The guest: it makes one hypercall and ends."""
    return Guest("called", paravirt=True).constant("FROM_HANDLER", FROM_HANDLER).asm(FUNCTIONS).build()


def call_many(row: CallRow, turns: int) -> tuple[Any, int]:
    """Make the row's call `turns` times; what the last gave, and the hypercalls of them all."""
    found: list[Any] = []

    def repeat(function: GuestFunction) -> None:
        arguments = row.arguments
        for _ in range(turns - 1):
            function(*arguments)
        found.append(function(*arguments))

    @hypercall(FROM_HANDLER, "bench_from_handler")
    def from_handler(_machine: MachineView) -> None:
        if row.inside:
            repeat(machine.function(row.function, returns=row.returns))

    with Machine(memory="2MiB", hypercalls=[from_handler]) as machine:
        machine.load(image())
        machine.run()
        if not row.inside:
            repeat(machine.function(row.function, returns=row.returns))
        return found[0], sum(machine.vcpu.calls().values())
