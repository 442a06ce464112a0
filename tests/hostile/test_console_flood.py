"""A guest that writes for ever: its output is bounded, the guest is told where it can be, and so is whoever runs it."""

from __future__ import annotations

import pytest

from guest_sdk import Guest
from pv import Console
from pv.console import KEPT_BYTES, MOST_BYTES
from pv.exits import StopWhy
from pv.machine import Machine
from tests.pv.engines.unicorn_memory.machines import assemble

ENOSPC = 28


def flood() -> bytes:
    """Writes 60,000 bytes a call until the call fails, and ends with the errno; RBX has what was taken."""
    guest = Guest("flood", paravirt=True)
    guest.bss("text", 60_000)
    guest.asm("main:\nxor ebx, ebx\nagain:")
    guest.call.console_write("text", 60_000)
    guest.asm("test rax, rax\njs full\nadd rbx, rax\njmp again\nfull: neg rax\nret")
    return guest.build()


@pytest.mark.parametrize("isolation", ["none", "process"])
@pytest.mark.parametrize("watched", [False, True])
def test_a_flood_by_hypercall_ends_with_enospc(watched: bool, isolation: str) -> None:
    """Whether anybody watches makes no difference to the guest."""
    seen = bytearray()
    console = Console(seen.extend if watched else None, kept_bytes=1000, most_bytes=200_000)
    with Machine(memory="2MiB", console=console, isolation=isolation) as machine:
        machine.load(flood())
        outcome = machine.run(timeout=60)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, ENOSPC)
        assert machine.vcpu.rbx == 200_000
        assert outcome.calls["console_write"] == 5  # three whole, one in part, one refused
        assert len(outcome.console) == 1000
        assert outcome.console_refused == 40_000 + 60_000
        assert machine.console.dropped == 199_000
        assert [note for note in machine.notes if "console is full" in note]
    assert len(seen) == (200_000 if watched else 0)


def test_a_flood_by_uart_is_dropped() -> None:
    """A 16550 has no way to say it: the bytes are gone, and the outcome says how many."""
    with Machine(memory="2MiB", technique="trap", console=Console(most_bytes=100)) as machine:
        machine.load(
            assemble("mov edx, 0x3f8; mov ecx, 5000; again: out dx, al; dec ecx; jnz again; mov al, 3; out 0xf4, al")
        )
        outcome = machine.run(timeout=60)
    assert (outcome.why, outcome.status) == (StopWhy.EXITED, 3)
    assert outcome.exits["IO_INSTRUCTION"] == 5001
    assert len(outcome.console) == 100
    assert outcome.console_refused == 4900


def test_an_ordinary_console_is_generous() -> None:
    console = Console()
    assert console.room == MOST_BYTES == 64 * KEPT_BYTES
    with Machine(memory="2MiB") as machine:
        machine.load(flood())
        outcome = machine.run(timeout=100)
        assert (outcome.why, outcome.status) == (StopWhy.EXITED, ENOSPC)
        assert machine.vcpu.rbx == MOST_BYTES
        assert len(outcome.console) == KEPT_BYTES
