"""pvkit's virtual machine monitor. `from pv import Machine` is where its users start.

Names are imported when first asked for, so that `pv.exits` and its like stay as light as they are.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pv.console import Console
    from pv.document import Document
    from pv.exits import GuestCallError, GuestError, Reason, StopWhy
    from pv.loaders import LoadError
    from pv.machine import Machine
    from pv.outcome import Outcome, format_record
    from pv.plugin import PluginError
    from pv.snapshot import Snapshot, SnapshotError

__all__ = [
    "Console",
    "Document",
    "GuestCallError",
    "GuestError",
    "LoadError",
    "Machine",
    "Outcome",
    "PluginError",
    "Reason",
    "Snapshot",
    "SnapshotError",
    "StopWhy",
    "format_record",
]

HOMES: Final = {
    "Console": "pv.console",
    "Document": "pv.document",
    "GuestCallError": "pv.exits",
    "GuestError": "pv.exits",
    "LoadError": "pv.loaders",
    "Machine": "pv.machine",
    "Outcome": "pv.outcome",
    "PluginError": "pv.plugin",
    "Reason": "pv.exits",
    "Snapshot": "pv.snapshot",
    "SnapshotError": "pv.snapshot",
    "StopWhy": "pv.exits",
    "format_record": "pv.outcome",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'pv' has no attribute {name!r}")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
