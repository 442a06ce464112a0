"""The engines by name. An engine's package is imported when it is first asked for, never before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

EngineFactory = Callable[..., Any]
"""factory(memory, *, decode, monitor_pages, translation_buffer_bytes, mode) -> Vcpu, with start_* and native."""


def _unicorn(*arguments: Any, **options: Any) -> Any:
    from pv.engines.unicorn import UnicornVcpu

    return UnicornVcpu(*arguments, **options)


ENGINES: Final[dict[str, EngineFactory]] = {"unicorn": _unicorn}


def find_engine(engine: str | EngineFactory) -> EngineFactory:
    """The factory of that name, or `engine` itself where it is one. Raises ValueError listing the names."""
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is not known: {', '.join(sorted(ENGINES))}")
    return ENGINES[engine]
