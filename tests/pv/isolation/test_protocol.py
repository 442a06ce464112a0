"""A handler's answer as words, and the words as the answer again."""

from __future__ import annotations

from typing import Any

import pytest

from pv.engines.base import GuestFault
from pv.exits import AGAIN, NEXT, WAIT, GuestError, fault, stop
from pv.isolation.errors import HandlerRaised
from pv.isolation.protocol import RAISED, refusal_words, reply_words, settle


def crossed(words: tuple[int, ...]) -> tuple[int, ...]:
    """Words as the box hands them on."""
    return tuple(word % (1 << 64) for word in words)


@pytest.mark.parametrize(
    "answer", [0, 5, -22, (1 << 63) - 1, None, NEXT, AGAIN, WAIT, stop(7), fault(13, 0), fault(6)], ids=repr
)
def test_an_answer_crosses(answer: Any) -> None:
    found = settle(crossed(reply_words(answer)))
    assert found == answer
    assert (found is NEXT) == (answer is NEXT)


def test_what_no_handler_may_answer() -> None:
    with pytest.raises(TypeError, match="'text', which is neither int nor Reply"):
        reply_words("text")


def test_refusals_are_raised_again() -> None:
    with pytest.raises(GuestError) as refused:
        settle(refusal_words(GuestError(14)))
    assert refused.value.errno == 14
    for error_code in (None, 0, 2):
        with pytest.raises(GuestFault) as faulted:
            settle(refusal_words(GuestFault(14, error_code)))
        assert (faulted.value.vector, faulted.value.error_code) == (14, error_code)
    with pytest.raises(HandlerRaised):
        settle((RAISED,))
