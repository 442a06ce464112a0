"""Which arguments can a machine use? What a caller got wrong is said in one line, with how to mend it.

TypeError for a thing of the wrong kind, ValueError for a value that cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pv.console import Console
from pv.memory import GuestMemory

TIMEOUT_MOST_S: Final = 1e9  # as ns it fits the engine's 64 bits
EXITS_MOST: Final = (1 << 63) - 1  # likewise; no run gets that far


def check_arguments(
    memory: Any, disabled_plugins: Any, grants: Any, quotas: Any, console: Any, disks: Any = ()
) -> None:
    """Raises TypeError for an argument of Machine of the wrong kind. Values are judged where they are used."""
    if isinstance(memory, bool) or not isinstance(memory, str | int | GuestMemory):
        raise TypeError(f"memory={memory!r} is not a size; write '16MiB' or a number of bytes")
    for what, names in (("disabled_plugins", disabled_plugins), ("grants", grants), ("disks", disks)):
        if names is None and what == "grants":
            continue
        if isinstance(names, str | bytes) or not isinstance(names, Iterable):
            raise TypeError(f"{what}={names!r} is not a list of names; write [...] around it")
    if quotas is not None and not isinstance(quotas, Mapping):
        raise TypeError(f"quotas={quotas!r} is not a mapping; write {{'console_write': 100}}")
    if not (console is None or isinstance(console, Console) or callable(console)):
        raise TypeError(f"console={console!r} cannot take the guest's text; give a callable that takes bytes")


def budgets(timeout: float | None, max_exits: int | None, what: str = "run()") -> tuple[int, int]:
    """(ns, exits) as Vcpu.run takes them, 0 for no limit. what: who asks, for messages.

    Raises TypeError for what is no number, ValueError unless each is above 0.
    """
    for name, value, kinds, kind in (
        ("timeout", timeout, (int, float), "a number of seconds"),
        ("max_exits", max_exits, (int,), "a whole number"),
    ):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise TypeError(f"{what}: {name}={value!r} is not {kind}; leave it out for no limit")
        if not value > 0:
            raise ValueError(f"{what}: {name}={value!r} is not above 0; leave it out for no limit")
    timeout_ns = 0 if timeout is None else max(1, int(min(timeout, TIMEOUT_MOST_S) * 1e9))
    return timeout_ns, 0 if max_exits is None else min(max_exits, EXITS_MOST)
