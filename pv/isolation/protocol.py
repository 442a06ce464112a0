"""The words that a worker process and its parent put into each other's boxes.

A request's first word is the row of the parent's that is called, its arguments follow; or one of the words below.
"""

from __future__ import annotations

import os
from typing import Any, Final

from pv.engines.base import GuestFault
from pv.exits import NEXT, GuestError, Reply, ReplyKind
from pv.isolation.errors import HandlerRaised

# The worker's requests that are no row.
FRAME: Final = 1 << 32  # a frame follows on the socket
CONSOLE: Final = FRAME + 1  # take the guest's text from the room

# The first word of the parent's replies.
VALUE, REPLY, ERRNO, FAULT, NOTHING, RAISED, COMMAND = range(7)

# Words of the page that are read at leisure.
STOP_STATUS, CONSOLE_USED = range(2)

# A second processor may as well look as sleep. With one, whoever looks keeps the other from answering.
WATCH_NS: Final = 50_000 if len(os.sched_getaffinity(0)) > 1 else 0

SIGN: Final = 1 << 63
NO_ERROR: Final = 1 << 32  # in the place of an error code


def reply_words(reply: Any) -> tuple[int, ...]:
    """What a handler returned, as words. Raises TypeError for what none may return."""
    if isinstance(reply, int):
        return (VALUE, reply)
    if reply is None:
        return (NOTHING,)
    if isinstance(reply, Reply):
        return (REPLY, reply.kind, reply.vector, error_word(reply.error_code), reply.status)
    raise TypeError(f"a handler answered {reply!r}, which is neither int nor Reply")


def refusal_words(error: GuestError | GuestFault) -> tuple[int, ...]:
    """What a handler raised and the guest is to have."""
    if isinstance(error, GuestError):
        return (ERRNO, error.errno)
    return (FAULT, error.vector, error_word(error.error_code))


def error_word(error_code: int | None) -> int:
    return NO_ERROR if error_code is None else error_code


def settle(words: tuple[int, ...]) -> Any:
    """In the worker: what the handler in the parent returned, or raise what it raised."""
    kind = words[0]
    if kind == VALUE:
        value = words[1]
        return value if value < SIGN else value - (1 << 64)
    if kind == NOTHING:
        return None
    if kind == REPLY:
        if words[1] == ReplyKind.NEXT:
            return NEXT
        return Reply(ReplyKind(words[1]), words[2], None if words[3] == NO_ERROR else words[3], words[4])
    if kind == ERRNO:
        raise GuestError(words[1])
    if kind == FAULT:
        raise GuestFault(words[1], None if words[2] == NO_ERROR else words[2])
    raise HandlerRaised
