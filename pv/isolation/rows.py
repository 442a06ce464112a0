"""Rows whose handlers live in the parent: how the worker is told of them, and how its requests reach them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pv.dispatch import Row, Shape
from pv.engines.base import GuestFault
from pv.exits import Exit, GuestError
from pv.isolation.protocol import refusal_words, reply_words

SIGN: Final = 1 << 63
VALUE_MOST: Final = (1 << 63) - 1  # as the engine has it of a hypercall's result
VALUE_LEAST: Final = -4095


def describe_row(index: int, row: Row) -> list[Any]:
    """What the worker needs to have a stub in the row's place. Raises ValueError for a row that cannot have one."""
    if row.shape is Shape.NATIVE:
        raise ValueError(
            f"{row.owner} ({row.name}): a function of the engine's cannot be reached from its worker process"
        )
    bits = tuple(row.argument_bits)
    shape, reason = int(row.shape), int(row.reason)
    return [index, reason, row.first, row.last, row.owner, row.name, shape, bits, row.user_allowed, row.batchable]


def answer_row(row: Row) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Takes the arguments of a request for `row` and gives the words of the reply; what a handler raises leaves."""
    return ANSWERS[row.shape](row.handler)


def _of_call(handler: Callable[..., Any]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    def answer(arguments: tuple[int, ...]) -> tuple[int, ...]:
        try:
            found = handler(*arguments)
        except (GuestError, GuestFault) as error:
            return refusal_words(error)
        if isinstance(found, int) and not VALUE_LEAST <= found <= VALUE_MOST:
            raise ValueError(f"{handler!r} answered {found}: not in -4095..2**63-1")
        return reply_words(found)

    return answer


def _of_read(handler: Callable[..., Any]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    def answer(arguments: tuple[int, ...]) -> tuple[int, ...]:
        try:
            return reply_words(handler(*arguments))
        except (GuestError, GuestFault) as error:
            return refusal_words(error)

    return answer


def _of_exit(handler: Callable[..., Any]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    def answer(arguments: tuple[int, ...]) -> tuple[int, ...]:
        reason, key, value, size, address, error_code, length, rip, cpl = arguments
        signed = key - (SIGN << 1) if key >= SIGN else key
        taken = Exit(reason, signed, value, size, address, error_code, length, rip=rip, cpl=cpl)
        try:
            return reply_words(handler(taken))
        except (GuestError, GuestFault) as error:
            return refusal_words(error)

    return answer


ANSWERS: Final = {Shape.CALL: _of_call, Shape.READ: _of_read, Shape.WRITE: _of_read, Shape.EXIT: _of_exit}
