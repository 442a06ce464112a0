"""One line an exit: number, virtual time, reason and key, RIP, and what was answered.

Rows are wrapped before the engine binds them; a machine without a trace has no trace of this. Rows that the
engine answers itself (Shape.NATIVE) never come to Python: they stand in the flight record and the counters only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from errno import errorcode
from itertools import count
from typing import Any, Final, Protocol

from pv.dispatch import Row, Shape
from pv.engines.base import GuestFault
from pv.exits import ExitView, GuestError, Reason, Reply, ReplyKind
from pv.keys import key_text, reason_name, vector_text


class TextStream(Protocol):
    def write(self, text: str, /) -> object: ...


class Watched(Protocol):
    """The part of a vcpu that a trace reads."""

    exit: ExitView

    @property
    def now_ns(self) -> int: ...


Sink = Callable[[str], object] | TextStream


def line_sink(sink: Sink) -> Callable[[str], object]:
    """`sink` as a callable that takes a line without its end: a callable as it is, a stream's write with one."""
    write = getattr(sink, "write", None)
    if write is not None:
        return lambda line: write(line + "\n")
    if callable(sink):
        return sink
    raise TypeError(f"trace: {type(sink).__name__} is neither a callable nor a stream with write()")


def wrap_rows(rows: Iterable[Row], vcpu: Watched, sink: Sink) -> list[Row]:
    """`rows` with every handler that Python answers writing its line to `sink` after it answered."""
    emit = line_sink(sink)
    numbers = count(1)
    return [row if row.shape is Shape.NATIVE else _wrap(row, vcpu, emit, numbers) for row in rows]


def _wrap(row: Row, vcpu: Watched, emit: Callable[[str], object], numbers: Iterable[int]) -> Row:
    handler, shape, number = row.handler, row.shape, iter(numbers)
    calls: Mapping[int, str] = {row.first: row.name} if row.first == row.last and row.name else {}

    def traced(*arguments: Any) -> Any:
        now_ns, rip = vcpu.now_ns, vcpu.exit.rip
        # A call inside a multicall has the multicall's exit: its own row knows better which call it is.
        key = row.first if row.first == row.last and row.first >= 0 else vcpu.exit.key
        if row.reason is Reason.IO_INSTRUCTION:
            key = key * 2 + (shape is Shape.WRITE)
        elif row.reason is Reason.MMIO:
            key = key * 2 + (vcpu.exit.error_code >> 1 & 1)
        head = f"{next(number):>8} {now_ns:>12} {reason_name(row.reason)} {key_text(row.reason, key, calls)}".rstrip()
        try:
            answer = handler(*arguments)
        except Exception as error:
            emit(f"{head} rip={rip:#x}{ARGUMENTS[shape](arguments)} -> {error_text(error)}")
            raise
        emit(f"{head} rip={rip:#x}{ARGUMENTS[shape](arguments)} -> {answer_text(answer)}")
        return answer

    return dataclasses.replace(row, handler=traced)


def answer_text(answer: Any) -> str:
    """What a handler returned: a number in hex (an errno by name), or the reply."""
    if answer is None:
        return "next"
    if isinstance(answer, Reply):
        return REPLIES[answer.kind](answer)
    if isinstance(answer, int):
        return errno_text(answer) if answer < 0 else f"{answer:#x}"
    return repr(answer)


def error_text(error: Exception) -> str:
    """What a handler raised: the guest's errno or fault, or an error of ours by its type."""
    if isinstance(error, GuestError):
        return errno_text(-error.errno)
    if isinstance(error, GuestFault):
        return fault_text(error.vector, error.error_code)
    return f"raised {type(error).__name__}: {error}"


def errno_text(result: int) -> str:
    return f"-{errorcode[-result]}" if -result in errorcode else str(result)


def fault_text(vector: int, error_code: int | None) -> str:
    return vector_text(vector) + (f"({error_code:#x})" if error_code is not None else "")


def _read_text(arguments: tuple[int, ...]) -> str:
    return f" size={arguments[1]}"


def _write_text(arguments: tuple[int, ...]) -> str:
    return f" size={arguments[1]} value={arguments[2]:#x}"


def _call_text(arguments: tuple[int, ...]) -> str:
    return f" ({', '.join(f'{argument:#x}' for argument in arguments)})"


def _no_text(_arguments: tuple[Any, ...]) -> str:
    return ""


ARGUMENTS: Final[Mapping[Shape, Callable[[tuple[Any, ...]], str]]] = {
    Shape.EXIT: _no_text,
    Shape.CALL: _call_text,
    Shape.READ: _read_text,
    Shape.WRITE: _write_text,
}

REPLIES: Final[Mapping[ReplyKind, Callable[[Reply], str]]] = {
    ReplyKind.NEXT: lambda _: "next",
    ReplyKind.AGAIN: lambda _: "again",
    ReplyKind.FAULT: lambda reply: fault_text(reply.vector, reply.error_code),
    ReplyKind.WAIT: lambda _: "wait",
    ReplyKind.STOP: lambda reply: f"stop({reply.status})",
}
