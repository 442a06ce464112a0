"""Which exceptions cross from a worker process, and what becomes of the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Final

from pv.disk import DiskError
from pv.dispatch import Collision
from pv.engines.base import GuestFault
from pv.exits import GuestCallError, GuestError
from pv.loaders.image import LoadError
from pv.plugin import PluginError, describe


class WorkerError(RuntimeError):
    """An exception in a worker process that has no class of its own here: a plugin's, for instance."""


class WorkerEnded(RuntimeError):
    """The worker process is gone, or was ended because it did not answer. run() makes an outcome of it."""


class HandlerRaised(Exception):
    """In the worker: a handler in the parent raised. The parent has the exception itself."""


def engine_error(text: str) -> Exception:
    """The engine's own error. Imported when there is one: the parent need not load an engine."""
    from pv.engines.unicorn import EngineError

    error: Exception = EngineError(text)
    return error


# How each is made again of what error_parts() took.
KNOWN: Final[dict[str, Callable[..., BaseException]]] = {
    **{
        one.__name__: one
        for one in (ValueError, TypeError, RuntimeError, MemoryError, KeyError, IndexError, OverflowError)
    },
    **{one.__name__: one for one in (LoadError, DiskError, PluginError, Collision, WorkerError, HandlerRaised)},
    "GuestError": GuestError,
    "GuestCallError": lambda text, errno, ended: GuestCallError(text, errno, ended if ended[0] else None),
    "GuestFault": GuestFault,
    "OSError": OSError,
    "EngineError": engine_error,
}


def error_parts(error: BaseException) -> list[Any]:
    """[class name, arguments, traceback as text] of an exception that is to cross."""
    text = "".join(traceback.format_exception(error))
    name = type(error).__name__
    if isinstance(error, GuestCallError):
        return ["GuestCallError", [str(error), error.errno, (error.why, error.status, error.detail)], text]
    if isinstance(error, GuestError):
        return ["GuestError", [error.errno, str(error)], text]
    if isinstance(error, GuestFault):
        return ["GuestFault", [error.vector, error.error_code], text]
    if isinstance(error, OSError) and error.errno is not None:
        return ["OSError", [error.errno, error.strerror or "", str(error.filename or "")], text]
    if name in KNOWN:
        return [name, [str(error.args[0]) if error.args else ""], text]
    return ["WorkerError", [describe(error)], text]


def make_error(parts: list[Any]) -> BaseException:
    """The exception that error_parts() described, the worker's traceback as its note."""
    name, arguments, text = parts
    error = KNOWN[name](*arguments)
    error.add_note(f"in the worker process:\n{text}")
    return error
