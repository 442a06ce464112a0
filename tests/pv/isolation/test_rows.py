"""Rows of the parent's: told to the worker by value, and answered from words."""

from __future__ import annotations

from typing import Any

import pytest

from pv.dispatch import Row, Shape
from pv.engines.base import GuestFault
from pv.exits import NEXT, Exit, GuestError, Reason, stop
from pv.isolation.protocol import ERRNO, FAULT, NOTHING, REPLY, VALUE
from pv.isolation.rows import answer_row, describe_row


def row(handler: Any, shape: Shape) -> Row:
    return Row(Reason.VMCALL, 0x8001, 0x8002, handler, "owner", "name", shape, (64, 32), True)


def test_a_row_is_told_by_value() -> None:
    told = describe_row(3, row(print, Shape.CALL))
    assert told == [3, 18, 0x8001, 0x8002, "owner", "name", 1, (64, 32), True, True]
    assert {type(part) for part in told} == {int, str, tuple, bool}
    with pytest.raises(ValueError, match=r"owner.*engine's cannot be reached"):
        describe_row(0, row(print, Shape.NATIVE))


def test_calls_reads_and_writes() -> None:
    assert answer_row(row(lambda a, b: a + b, Shape.CALL))((3, 4)) == (VALUE, 7)
    assert answer_row(row(lambda offset, size: offset << size, Shape.READ))((1, 4)) == (VALUE, 16)
    assert answer_row(row(lambda *_written: None, Shape.WRITE))((1, 4, 5)) == (NOTHING,)
    assert answer_row(row(lambda *_: stop(4), Shape.CALL))(())[0] == REPLY
    with pytest.raises(ValueError, match="not in -4095"):
        answer_row(row(lambda: -4096, Shape.CALL))(())


@pytest.mark.parametrize("shape", [Shape.CALL, Shape.READ, Shape.WRITE])
def test_refusals(shape: Shape) -> None:
    def refuse(errno: int) -> int:
        raise GuestError(errno) if errno else GuestFault(13, 0)

    assert answer_row(row(refuse, shape))((5,)) == (ERRNO, 5)
    assert answer_row(row(refuse, shape))((0,)) == (FAULT, 13, 0)


def test_an_exit_is_made_of_its_words() -> None:
    seen: list[Exit] = []

    def answer(exit: Exit) -> Any:
        seen.append(exit)
        return NEXT

    def refuse(_exit: Exit) -> Any:
        raise GuestFault(6)

    words = (18, (1 << 64) - 1, 1, 2, 3, 4, 5, 6, 1)
    assert answer_row(row(answer, Shape.EXIT))(words)[:2] == (REPLY, 0)
    assert seen == [Exit(18, -1, 1, 2, 3, 4, 5, None, 6, 1)]
    assert answer_row(row(refuse, Shape.EXIT))(words)[0] == FAULT
