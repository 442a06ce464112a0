"""Two sides of one page: what one puts the other takes, once, and a sleeper is told to be rung."""

from __future__ import annotations

import mmap
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pv.isolation.mailbox import MOST_WORDS, PAGE_BYTES, Mailbox


def pair() -> tuple[Mailbox, Mailbox]:
    page = mmap.mmap(-1, PAGE_BYTES)
    return Mailbox(page, True), Mailbox(page, False)


@given(st.lists(st.lists(st.integers(-(1 << 63), (1 << 64) - 1), max_size=MOST_WORDS), max_size=8))
def test_words_cross_modulo_2_64(messages: list[list[int]]) -> None:
    asks, answers = pair()
    for words in messages:
        for one, other in ((asks, answers), (answers, asks)):
            assert one.put(tuple(words)) is False
            assert other.take(0) == tuple(word % (1 << 64) for word in words)
            assert other.take(0) is None


def test_a_sleeper_is_rung() -> None:
    asks, answers = pair()
    assert answers.sleep() is True
    assert asks.put((1,)) is True
    answers.wake()
    assert answers.take(0) == (1,)
    asks.put((2,))
    assert answers.sleep() is False, "there is something to take"
    assert answers.take(0) == (2,)
    assert asks.put((3,)) is False


def test_too_many_words_and_pages_of_another_size() -> None:
    asks, _ = pair()
    with pytest.raises(ValueError, match="14 words where a box holds 13"):
        asks.put((0,) * 14)
    with pytest.raises(ValueError, match="a mailbox is 65536 bytes"):
        Mailbox(bytearray(4096), True)


def test_a_count_that_is_a_lie() -> None:
    page = mmap.mmap(-1, PAGE_BYTES)
    answers = Mailbox(page, False)
    page[:24] = b"".join(word.to_bytes(8, "little") for word in (1, 0, 1 << 60))
    assert answers.take(0) == (0,) * MOST_WORDS


def test_words_and_room_are_common() -> None:
    asks, answers = pair()
    asks.set_word(3, -1)
    asks.room[:2] = b"hi"
    assert answers.word(3) == (1 << 64) - 1
    assert bytes(answers.room[:2]) == b"hi"
    assert len(answers.room) == PAGE_BYTES - 4096


def test_a_closed_mailbox_refuses() -> None:
    asks, _ = pair()
    asks.close()
    for verb in (
        lambda: asks.put(()),
        lambda: asks.take(0),
        asks.sleep,
        asks.wake,
        lambda: asks.word(0),
        lambda: asks.room,
    ):
        with pytest.raises(ValueError, match="closed"):
            verb()


def test_two_processes() -> None:
    page = mmap.mmap(-1, PAGE_BYTES)
    answers = Mailbox(page, False)  # before the other side can put anything: a new mailbox takes only what comes later
    child = os.fork()
    if not child:
        asks = Mailbox(page, True)
        for number in range(1000):
            asks.put((number,))
            while (found := asks.take(1_000_000)) is None:
                pass
            if found != (number * 2,):
                os._exit(1)
        os._exit(0)
    try:
        for _ in range(1000):
            while (words := answers.take(1_000_000)) is None:
                assert os.waitpid(child, os.WNOHANG) == (0, 0), "the other side ended early"
            answers.put((words[0] * 2,))
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
