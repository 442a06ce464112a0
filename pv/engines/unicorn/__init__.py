"""The Unicorn engine: loads libunicorn beside the installed `unicorn` package and proves its layout.

Importing this module fails with EngineError, and one line on how to mend it, where the library is not the one
that the core knows: never with wrong registers.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pv.engines.unicorn.core import BareEngine, EngineError, NativeHandlers, UnicornVcpu, load_engine

__all__ = ["BareEngine", "EngineError", "NativeHandlers", "UnicornVcpu"]


def library_path() -> Path:
    """Where the installed wheel keeps libunicorn. Raises EngineError where there is none."""
    spec = importlib.util.find_spec("unicorn")
    if spec is None or not spec.origin:
        raise EngineError("the unicorn package is not installed; mend it with: pip install unicorn==2.1.4")
    found = sorted((Path(spec.origin).parent / "lib").glob("libunicorn.so.*"))
    if not found:
        raise EngineError(f"no libunicorn.so beside {spec.origin}; mend it with: pip install unicorn==2.1.4")
    return found[0]


load_engine(str(library_path()))
