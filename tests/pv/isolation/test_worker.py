"""A worker process seen from inside, without the process: its console's way out, and stubs that ask."""

from __future__ import annotations

import gc
import mmap
import socket
import threading
from typing import Any

import pytest
from pv.isolation.mailbox import PAGE_BYTES, Mailbox

from pv.dispatch import Shape
from pv.exits import NEXT, Exit, Reason
from pv.isolation.frames import Frames
from pv.isolation.protocol import COMMAND, CONSOLE, CONSOLE_USED, NOTHING, REPLY, VALUE
from pv.isolation.worker import STUBS, Parent, rehearse
from pv.techniques import TECHNIQUES


class Ends:
    """A Parent, and a thread that answers it as `answer` says."""

    def __init__(self, answer: Any) -> None:
        page = mmap.mmap(-1, PAGE_BYTES)
        ours, theirs = map(Frames, socket.socketpair())
        self.theirs = theirs
        self.parent = Parent(ours, Mailbox(page, True))
        self.mailbox = Mailbox(page, False)
        self.asked: list[tuple[int, ...]] = []
        self.answer = answer
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            words = self.mailbox.take(1_000_000)
            if words is None:
                continue
            self.asked.append(words)
            if words == (0,):
                return
            if self.mailbox.put(self.answer(self, words)):
                self.theirs.ring()

    def end(self) -> list[tuple[int, ...]]:
        self.parent._mailbox.put((0,))
        self.thread.join()
        return self.asked[:-1]


def test_text_waits_in_the_room_until_it_is_full_or_wanted_at_once() -> None:
    said = bytearray()

    def take(ends: Ends, _words: tuple[int, ...]) -> tuple[int, ...]:
        said.extend(ends.mailbox.room[: ends.mailbox.word(CONSOLE_USED)])
        ends.mailbox.set_word(CONSOLE_USED, 0)
        return (NOTHING,)

    ends = Ends(take)
    room = len(ends.mailbox.room)
    ends.parent.say(b"ab", False)
    ends.parent.say(b"c", True)
    ends.parent.say(bytes(room + 5), False)
    assert ends.end() == [(CONSOLE,), (CONSOLE,)]
    assert bytes(said) == b"abc" + bytes(room)
    assert ends.mailbox.word(CONSOLE_USED) == 5


@pytest.mark.parametrize(
    ("shape", "arguments", "asked", "answer", "found"),
    [
        (Shape.CALL, (3, (1 << 64) - 1), (7, 3, (1 << 64) - 1), (VALUE, -22), -22),
        (Shape.READ, (2, 8), (7, 2, 8), (VALUE, (1 << 64) - 1), (1 << 64) - 1),
        (Shape.WRITE, (2, 1, 9), (7, 2, 1, 9), (NOTHING,), None),
        (
            Shape.EXIT,
            (Exit(Reason.CPUID, 1, rip=5, cpl=1),),
            (7, 10, 1, 0, 0, 0, 0, 0, 5, 1),
            (REPLY, 0, 0, 0, 0),
            NEXT,
        ),
    ],
)
def test_a_stub_asks(shape: Shape, arguments: Any, asked: Any, answer: Any, found: Any) -> None:
    ends = Ends(lambda *_: answer)
    assert STUBS[shape](ends.parent.ask, 7)(*arguments) == found
    assert ends.end() == [asked]


def test_while_it_waits_it_obeys() -> None:
    obeyed: list[Any] = []

    def command_first(ends: Ends, _words: tuple[int, ...]) -> tuple[int, ...]:
        if not obeyed and len(ends.asked) == 1:
            ends.mailbox.put((COMMAND,))
            ends.theirs.send(["get", "vcpu", "rax"])
            while not obeyed:
                pass
        return (VALUE, 4)

    ends = Ends(command_first)
    ends.parent.obey = obeyed.append
    assert ends.parent.ask((7,)) == (VALUE, 4)
    assert obeyed == [["get", "vcpu", "rax"]]
    ends.end()


def test_a_rehearsal_is_a_guest_under_each_technique() -> None:
    try:
        ends = rehearse()
    finally:
        gc.unfreeze()
    assert ends[0].startswith("paravirt triple fault"), "HLT is not a paravirtual guest's to use"
    assert [end.split()[:2] for end in ends[1:]] == [[name, "halted:"] for name in TECHNIQUES if name != "paravirt"]
