"""Running hostile guests for the tests beside this file: with a budget, between canaries, and a machine after each."""

from __future__ import annotations

from typing import Any

from guest_sdk import Guest
from guest_sdk.examples import hello
from pv.machine import Machine
from pv.outcome import Outcome
from tests.fuzz.runner import Between
from tests.pv.engines.unicorn_memory.machines import assemble

MEMORY_BYTES = 2 << 20


def run_flat(
    guest: str | bytes, technique: str, *, timeout: float = 0.1, max_exits: int = 20_000, **options: Any
) -> tuple[Outcome, Machine]:
    """A flat guest between canaries, and then one that works: its outcome, and its machine, which is closed."""
    return _run(assemble(guest) if isinstance(guest, str) else guest, technique, timeout, max_exits, options)


def run_sdk(
    guest: Guest, technique: str = "paravirt", *, timeout: float = 0.1, max_exits: int = 20_000, **options: Any
) -> tuple[Outcome, Machine]:
    """Likewise for a guest made with the SDK."""
    return _run(guest.build(), technique, timeout, max_exits, options)


def _run(
    image: bytes, technique: str, timeout: float, max_exits: int, options: dict[str, Any]
) -> tuple[Outcome, Machine]:
    with Machine(memory=Between(MEMORY_BYTES), technique=technique, **options) as machine:
        machine.load(image)
        outcome = machine.run(timeout=timeout, max_exits=max_exits)
    with Machine(memory="2MiB") as healthy:
        healthy.load(hello.build())
        assert healthy.run(timeout=60).console == "hello, world\n"
    return outcome, machine
