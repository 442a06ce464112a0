"""The parent's end, against workers that misbehave: whatever they send, the answer is WorkerEnded with its reason."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from pv.isolation.mailbox import Mailbox

from pv.isolation import link as module
from pv.isolation.errors import WorkerEnded
from pv.isolation.frames import LENGTH, Frames
from pv.isolation.link import Link, ended_by
from pv.isolation.protocol import FRAME, NOTHING

Evil = Callable[[Frames, Any], None]


def linked(evil: Evil, monkeypatch: pytest.MonkeyPatch) -> Link:
    """A link to a child that gets the start and then does as `evil` says."""

    def fork(descriptor: int) -> int:
        child = os.fork()
        if child:
            return child
        try:
            frames = Frames(socket.socket(fileno=os.dup(descriptor)))
            _, descriptors = frames.receive_descriptors()
            evil(frames, Mailbox(mmap.mmap(descriptors[0], 1 << 16), True))
            time.sleep(5)
        finally:
            os._exit(9)

    def reap(process: int) -> int | None:
        try:
            os.kill(process, signal.SIGKILL)
            return os.waitpid(process, 0)[1]
        except (ChildProcessError, ProcessLookupError):
            return None

    monkeypatch.setattr(module, "fork_worker", fork)
    monkeypatch.setattr(module, "end_worker", reap)
    monkeypatch.setattr(module, "dismiss_worker", reap)
    made = Link(lambda _words, _frame: (NOTHING,))
    made.grace_s = 0.2
    return made


def quit_now(_frames: Frames, _mailbox: Any) -> None:
    os._exit(3)


def say_nothing(_frames: Frames, mailbox: Any) -> None:
    mailbox.put(())


def half_a_message(frames: Frames, mailbox: Any) -> None:
    mailbox.put((FRAME,))
    frames.stream.sendall(LENGTH.pack(100) + b"x")


def garbage(frames: Frames, mailbox: Any) -> None:
    mailbox.put((FRAME,))
    frames.stream.sendall(LENGTH.pack(4) + b"\xc1\xc1\xc1\xc1")


def a_number(frames: Frames, mailbox: Any) -> None:
    mailbox.put((FRAME,))
    frames.send(5)


def an_unknown_exception(frames: Frames, mailbox: Any) -> None:
    mailbox.put((FRAME,))
    frames.send(["raised", ["SystemExit", ["1"], ""]])


def an_endless_length(frames: Frames, mailbox: Any) -> None:
    mailbox.put((FRAME,))
    frames.stream.sendall(b"\xff\xff\xff\xff")


@pytest.mark.parametrize(
    ("evil", "says"),
    [
        (quit_now, "ended with status 3"),
        (say_nothing, "sent an empty request"),
        (half_a_message, "began a message, did not end it"),
        (garbage, "sent what is no message"),
        (a_number, "sent what is no message"),
        (an_unknown_exception, "sent what is no message"),
        (an_endless_length, "sent what is no message"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_worker_that_misbehaves_is_ended(evil: Evil, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = linked(evil, monkeypatch)
    with pytest.raises(WorkerEnded, match=says):
        made.start({}, [])
    assert says in made.ended
    with pytest.raises(WorkerEnded, match=says):
        made.ask("run")
    made.stop(0)
    made.close()
    made.close()


def test_a_worker_that_answers_nothing_in_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    made = linked(lambda *_: time.sleep(5), monkeypatch)
    made.deadline = time.monotonic() + 0.1
    with pytest.raises(WorkerEnded, match=r"was 0\.2 s late"):
        made.start({}, [])
    made.close()


def test_requests_of_no_row_are_answered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def wild(frames: Frames, mailbox: Any) -> None:
        for words in ((1 << 63,), (12345, 1, 2), (FRAME + 7,)):
            mailbox.put(words)
            while mailbox.take(1_000_000) is None:
                pass
        mailbox.put((FRAME,))
        frames.send(["done", "well"])

    made = linked(wild, monkeypatch)
    assert made.start({}, []) == "well"
    made.close()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (signal.SIGSEGV, "ended by SIGSEGV"),
        (signal.SIGRTMIN + 3, "ended by signal"),
        (5 << 8, "ended with status 5"),
        (None, "nobody knows how"),
    ],
)
def test_how_a_process_ended_in_words(status: int | None, text: str) -> None:
    assert text in ended_by(status)
