"""Which exceptions are a person's mistake: they become one line on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import importlib
from typing import Final

from bench.compare import UnknownName
from pv.dispatch import Collision
from pv.loaders import LoadError
from pv.plugin import PluginError
from pv.snapshot import SnapshotError

USAGE_STATUS: Final = 2
INTERRUPTED_STATUS: Final = 130


class Complaint(Exception):
    """Bad input that the command line itself found: what, where, and how to mend it."""


EXPECTED: Final[tuple[type[Exception], ...]] = (
    Complaint,
    UnknownName,
    LoadError,
    PluginError,
    Collision,
    SnapshotError,
)


def check_engine() -> None:
    """Raises Complaint where the engine cannot run: not built, or a libunicorn that its layout probe refuses."""
    try:
        importlib.import_module("pv.engines.unicorn")
    except (ImportError, RuntimeError) as refused:  # EngineError is a RuntimeError of the module that may be absent
        raise Complaint(f"the engine cannot run: {refused}; pvkit doctor says more") from refused
