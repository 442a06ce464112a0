"""The parent's end of one worker process: ask it, answer what it asks meanwhile, and know how it ended.

Whatever the worker does, each verb here ends: with an answer, with the exception that the answer is, or with
WorkerEnded, which says in one line how the process ended or why it was killed.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pv.isolation.codec import CodecError
from pv.isolation.errors import WorkerEnded, make_error
from pv.isolation.frames import Ended, Frames
from pv.isolation.launcher import dismiss_worker, end_worker, fork_worker
from pv.isolation.mailbox import PAGE_BYTES, Mailbox
from pv.isolation.protocol import COMMAND, CONSOLE_USED, FRAME, STOP_STATUS, WATCH_NS

GRACE_S: Final = 5.0  # how late a worker may be before it counts as hung
ANSWER_S: Final = 60.0  # how long a question between runs may take: a guest of gigabytes is loaded by then
LOOK_S: Final = 0.25  # how often a sleeping parent looks whether another thread has set a deadline

Answer = Callable[[tuple[int, ...], Any], tuple[int, ...]]


class Link:
    """One worker process. answer(words, frame): what a request's words, and the frame that came with them, are
    replied with; it raises nothing.

    Raises pv.isolation.launcher.LaunchError.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.grace_s = GRACE_S
        self.ended = ""  # how, in words, once it has
        self.running = False  # a run is under way, not just a question
        self.deadline: float | None = None  # of time.monotonic(): the worker must have answered by then
        self._lock = threading.RLock()
        self._asked = 0  # questions under way, one in the other's handler
        self._in_request = False  # the worker waits for a reply, and takes questions meanwhile
        self._page_descriptor = os.memfd_create("pvkit mailbox", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self._page_descriptor, PAGE_BYTES)
            self._page = mmap.mmap(self._page_descriptor, PAGE_BYTES)
            self._mailbox = Mailbox(self._page, False)
            self.room: Final = self._mailbox.room
            ours, theirs = socket.socketpair()
            self._frames = Frames(ours)
            with theirs:
                self.process: Final = fork_worker(theirs.fileno())
        except BaseException:
            self._close_page_descriptor()
            raise

    def _close_page_descriptor(self) -> None:
        if self._page_descriptor >= 0:
            os.close(self._page_descriptor)
            self._page_descriptor = -1

    def start(self, arguments: dict[str, Any], descriptors: Iterable[int]) -> Any:
        """Have the worker make its machine: what it says of it. Raises as the machine's constructor does."""
        try:
            return self._converse(arguments, [self._page_descriptor, *descriptors])
        finally:
            self._close_page_descriptor()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Have the worker do `verb`, and answer its requests until it has.

        Raises what the verb raised, WorkerEnded, and RuntimeError where the worker is busy with a run.
        """
        if (
            self.running or self.deadline is not None or "call_guest" in arguments[1:2]
        ):  # whose time is what was asked for
            return self._converse([verb, *arguments], ())
        self.deadline = time.monotonic() + ANSWER_S
        try:
            return self._converse([verb, *arguments], ())
        finally:
            self.deadline = None

    def stop(self, status: int) -> None:
        """Have the worker's run end, from any thread; a worker that does not heed it is killed after a while."""
        if self.ended:
            return
        self._mailbox.set_word(STOP_STATUS, status)
        latest = time.monotonic() + self.grace_s
        if self.running:
            self.deadline = latest if self.deadline is None else min(self.deadline, latest)
        # The process id is its own until close() has it reaped.
        os.kill(self.process, signal.SIGUSR1)

    def console_used(self) -> int:
        """Bytes of the guest's text in `room` that nobody has taken yet."""
        used: int = self._mailbox.word(CONSOLE_USED)
        return min(used, len(self.room))

    def console_taken(self) -> None:
        self._mailbox.set_word(CONSOLE_USED, 0)

    def kill(self, why: str) -> WorkerEnded:
        """End the worker for a reason that is told, unless it has ended before."""
        if not self.ended:
            self.ended = why
            end_worker(self.process)
        return WorkerEnded(self.ended)

    def close(self) -> None:
        """End the worker, if it has not ended, and give everything back. Closing twice is harmless."""
        if not self.ended:
            self.ended = "the machine is closed"
            dismiss_worker(self.process)
        self._close_page_descriptor()  # of a worker that was never told to start
        if not self._page.closed:
            self._frames.close()
            self.room.release()
            self._mailbox.close()
            self._page.close()

    # ---- the conversation ----

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One question at a time; further ones in the handlers that it leads to."""
        if not self._lock.acquire(blocking=not self.running):
            raise RuntimeError("the machine is running: ask it in a handler, or once run() has returned")
        try:
            if self._asked and not self._in_request:
                raise RuntimeError("the machine is running: a signal handler can stop it and ask nothing")
            self._asked += 1
            in_request, self._in_request = self._in_request, False
            try:
                yield
            finally:
                self._asked -= 1
                self._in_request = in_request
        finally:
            self._lock.release()

    def _converse(self, message: Any, descriptors: Iterable[int]) -> Any:
        if self.ended:
            raise WorkerEnded(self.ended)
        waits_for_reply = self._in_request
        with self._turn():
            settled = False
            try:
                if waits_for_reply:
                    self._put((COMMAND,))
                self._frames.send(message, descriptors)
                kind, found = self._serve()
                settled = True
            except Ended:
                raise self._end() from None
            finally:
                if not settled:  # an exception out of the blue, a signal handler's for one: nobody knows who waits
                    self.kill("the worker process was killed: an exception cut a conversation with it short")
        if kind == "raised":
            raise found
        return found

    def _serve(self) -> tuple[str, Any]:
        """Answer requests until a frame brings the result of what was asked: ("done" or "raised", it)."""
        mailbox = self._mailbox
        while True:
            words = mailbox.take(WATCH_NS)
            if words is None:
                words = self._sleep()
            frame = None
            if not words:
                raise self.kill("the worker process sent an empty request and was killed")
            if words[0] == FRAME:
                frame = self._receive()
                if frame[0] in ("done", "raised"):
                    return frame
            self._in_request = True
            begun = time.monotonic()
            reply = self._answer(words, frame)
            if self.deadline is not None:
                self.deadline += time.monotonic() - begun  # what a handler takes is the parent's own time
            self._in_request = False
            if self.ended:
                raise WorkerEnded(self.ended)
            self._put(reply)

    def _put(self, words: tuple[int, ...]) -> None:
        if self._mailbox.put(words):
            self._frames.ring()

    def _sleep(self) -> tuple[int, ...]:
        """Until the worker puts a request, ends, or is too late."""
        mailbox = self._mailbox
        while True:
            ended = False
            if mailbox.sleep():
                try:
                    self._frames.wait(self._patience())
                except Ended:
                    ended = True
                finally:
                    mailbox.wake()
            words: tuple[int, ...] | None = mailbox.take(0)
            if words is not None:
                return words
            if ended:
                raise self._end()
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise self.kill(f"the worker process was {self.grace_s:g} s late with its answer and was killed")

    def _patience(self) -> float:
        if self.deadline is None:
            return LOOK_S
        return min(LOOK_S, max(0.001, self.deadline - time.monotonic()))

    def _receive(self) -> tuple[str, Any]:
        """What a frame brings: ("done", result), ("raised", exception), or another kind with its value."""
        try:
            kind, found = self._frames.receive(self.grace_s)
            return kind, make_error(found) if kind == "raised" else found
        except TimeoutError:
            raise self.kill("the worker process began a message, did not end it, and was killed") from None
        except (CodecError, ValueError, TypeError, LookupError) as error:
            raise self.kill(f"the worker process sent what is no message and was killed: {error}") from None

    def _end(self) -> WorkerEnded:
        """The worker has closed its end: how it ended."""
        if not self.ended:
            self.ended = ended_by(end_worker(self.process))
        return WorkerEnded(self.ended)


def ended_by(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "the worker process ended, and nobody knows how"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        names = {one.value: one.name for one in signal.Signals}
        return f"the worker process ended by {names.get(number, f'signal {number}')}"
    return f"the worker process ended with status {os.WEXITSTATUS(status)}"
