"""What a worker process does: makes the machine that it is told, and does what it is asked until nobody asks.

The machine is an ordinary one, on memory that the parent maps as well. Rows of the parent's stand in its table as
stubs that ask the parent; its console and its trace ask likewise.
"""

from __future__ import annotations

import dataclasses
import gc
import mmap
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

from pv.console import Console
from pv.disk import Disk
from pv.dispatch import Row, Shape
from pv.engine_options import cache_bytes, engine_sizes
from pv.exits import Reason
from pv.isolation.codec import pack
from pv.isolation.confine import die_with, give_up_rights, keep_only, limit_address_space
from pv.isolation.errors import error_parts
from pv.isolation.frames import Ended, Frames
from pv.isolation.mailbox import PAGE_BYTES, Mailbox
from pv.isolation.protocol import COMMAND, CONSOLE, CONSOLE_USED, FRAME, STOP_STATUS, WATCH_NS, settle
from pv.machine import Machine
from pv.memory import GuestMemory
from pv.techniques import TECHNIQUES

MASK: Final = (1 << 64) - 1
HLT: Final = b"\xf4"
LATE_S: Final = 1.0  # how often a worker that waits for a reply looks again


class Parent:
    """The worker's end of the conversation."""

    def __init__(self, frames: Frames, mailbox: Mailbox) -> None:
        self._frames = frames
        self._mailbox = mailbox
        self._room: Final = mailbox.room
        self._used = 0
        self.obey: Callable[[Any], None] = _obey_nothing

    def ask(self, words: tuple[int, ...], frame: Any = None) -> tuple[int, ...]:
        """Put a request, with a frame where it has one, and do what the parent asks until it replies: its words."""
        mailbox = self._mailbox
        if mailbox.put(words):
            self._frames.ring()
        if frame is not None:
            self._frames.send(frame)
        while True:
            reply: tuple[int, ...] | None = mailbox.take(WATCH_NS)
            if reply is None:
                reply = self._sleep()
            self._used = mailbox.word(CONSOLE_USED)
            if reply[0] != COMMAND:
                return reply
            self.obey(self._frames.receive())

    def tell(self, kind: str, found: Any) -> None:
        """The result of what the parent asked."""
        if self._mailbox.put((FRAME,)):
            self._frames.ring()
        self._frames.send([kind, found])

    def command(self) -> Any:
        """What the parent asks next, and nothing runs."""
        message = self._frames.receive()
        self._used = self._mailbox.word(CONSOLE_USED)
        return message

    def say(self, data: bytes, at_once: bool) -> None:
        """Leave the guest's text where the parent finds it, even if this process ends now; at_once: have it taken."""
        view = memoryview(data)
        while view:
            piece = view[: len(self._room) - self._used]
            self._room[self._used : self._used + len(piece)] = piece
            self._used += len(piece)
            self._mailbox.set_word(CONSOLE_USED, self._used)
            view = view[len(piece) :]
            if at_once or self._used == len(self._room):
                settle(self.ask((CONSOLE,)))

    @property
    def stop_status(self) -> int:
        status: int = self._mailbox.word(STOP_STATUS)
        return status

    def _sleep(self) -> tuple[int, ...]:
        mailbox = self._mailbox
        while True:
            if mailbox.sleep():
                try:
                    self._frames.wait(LATE_S)
                finally:
                    mailbox.wake()
            reply: tuple[int, ...] | None = mailbox.take(0)
            if reply is not None:
                return reply


def _obey_nothing(_message: Any) -> None:
    raise RuntimeError("no machine yet")


@dataclasses.dataclass(frozen=True)
class Stubs:
    """A member of the table whose handlers live in the parent.

    described: its rows, as pv.isolation.rows has it.
    """

    name: str
    described: list[list[Any]]
    features: tuple[str, ...]
    parent: Parent

    def rows(self, _machine: Machine) -> Iterator[Row]:
        for index, reason, first, last, owner, name, shape, bits, *flags in self.described:
            handler = STUBS[shape](self.parent.ask, index)
            yield Row(Reason(reason), first, last, handler, owner, name, Shape(shape), bits, *flags)


def _call_stub(ask: Callable[..., Any], index: int) -> Callable[..., Any]:
    return lambda *arguments: settle(ask((index, *arguments)))


def _read_stub(ask: Callable[..., Any], index: int) -> Callable[..., Any]:
    def read(offset: int, size: int) -> Any:
        found = settle(ask((index, offset, size)))
        return found & MASK if isinstance(found, int) else found

    return read


def _exit_stub(ask: Callable[..., Any], index: int) -> Callable[..., Any]:
    def answer(exit: Any) -> Any:
        e = exit
        words = (index, e.reason, e.key, e.value, e.size, e.address, e.error_code, e.length, e.rip, e.cpl)
        return settle(ask(words))

    return answer


STUBS: Final = {Shape.CALL: _call_stub, Shape.WRITE: _call_stub, Shape.READ: _read_stub, Shape.EXIT: _exit_stub}


class Servant:
    """Does on its machine what the parent asks."""

    def __init__(self, parent: Parent, start: dict[str, Any], memory: GuestMemory) -> None:
        self.parent = parent
        echoes = start["echoes"]
        console = Console(lambda data: parent.say(data, echoes), kept_bytes=0, most_bytes=start["console_most_bytes"])
        members = [Stubs(name, rows, features, parent) for name, rows, features in start["members"]]
        arguments = start["arguments"]
        self.machine: Final = Machine(
            memory=memory,
            hypercalls=members,
            console=console,
            disks=[Disk(path, mode) for path, mode in start["disks"]],
            trace=self._trace if start["traced"] else None,
            **arguments,
        )
        self._roots: Final[dict[str, Any]] = {
            "machine": self.machine,
            "vcpu": self.machine.vcpu,
            "exit": self.machine.vcpu.exit,
            "virtual": self.machine.vcpu.virtual,
            "tables": self.machine.vcpu.tables,
            "shadow": self.machine.vcpu.shadow,
            "clock": self.machine.clock,
        }
        self._verbs: Final[dict[str, Callable[..., Any]]] = {
            "run": self._run,
            "get": lambda root, name: getattr(self._roots[root], name),
            "set": lambda root, name, value: setattr(self._roots[root], name, value),
            "call": lambda root, name, arguments, named: getattr(self._roots[root], name)(*arguments, **named),
            "load": self._load,
            "close": self.machine.close,
        }
        parent.obey = self.obey

    def obey(self, message: Any) -> None:
        """Do one verb and tell what became of it."""
        verb, *arguments = message
        try:
            found = self._verbs[verb](*arguments)
        except Ended:
            raise
        except BaseException as error:  # whatever it is, the parent is who must know
            self.parent.tell("raised", error_parts(error))
        else:
            self.parent.tell("done", found)

    def described(self) -> dict[str, Any]:
        machine = self.machine
        return {
            "notes": machine.notes,
            "call_numbers": dict(machine.call_numbers),
            "options": dict(machine.options),
            "features": dict(machine.features),
        }

    def _load(self, data: bytes) -> Any:
        self.machine.load(data)
        return self.machine.image, self.machine.notes

    def _run(self, timeout: float | None, max_exits: int | None) -> Any:
        outcome = self.machine.run(timeout, max_exits)
        return outcome, self.machine.notes

    def _trace(self, line: str) -> None:
        settle(self.parent.ask((FRAME,), ["trace", line]))


def wait_for_work(lead: int, zygote: int) -> int:
    """Make ready, and serve on the socket that comes over the socket `lead`: the process's exit status."""
    die_with(zygote)
    keep_only({0, 1, 2, lead})
    give_up_rights()
    rehearse()
    with socket.socket(fileno=lead) as control:
        data, descriptors, _, _ = socket.recv_fds(control, 64, 1)
    return serve(descriptors[0]) if data else 0


def rehearse() -> list[str]:
    """Run a guest of one instruction under each technique: what memory that writes is then this process's own.

    Gives what came of each, in words.
    """
    ends = []
    for technique in TECHNIQUES:
        with Machine(memory="2MiB", technique=technique) as machine:
            machine.load(HLT)
            outcome = machine.run(timeout=1)
            pack(outcome)
            ends.append(f"{technique} {outcome.summary}")
    gc.collect()
    gc.freeze()
    return ends


def serve(descriptor: int) -> int:
    """Serve on the socket `descriptor` until the parent is gone: the process's exit status."""
    frames = Frames(socket.socket(fileno=descriptor))
    try:
        start, descriptors = frames.receive_descriptors()
        page, ram = descriptors[:2]
        parent = Parent(frames, Mailbox(mmap.mmap(page, PAGE_BYTES), True))
        try:
            servant = _make_servant(parent, start, ram)
        except Exception as error:
            parent.tell("raised", error_parts(error))
            return 0
        finally:
            for one in descriptors:
                os.close(one)
        signal.signal(signal.SIGUSR1, lambda *_: servant.machine.stop(parent.stop_status))
        parent.tell("done", servant.described())
        while True:
            servant.obey(parent.command())
    except Ended:
        return 0


def _make_servant(parent: Parent, start: dict[str, Any], ram: int) -> Servant:
    memory = GuestMemory(start["memory_bytes"], ram)
    options = start["arguments"]["options"]
    sizes = engine_sizes(options, memory.size_bytes)
    cache = 4 * cache_bytes(options)  # and what is known of its blocks
    limit_address_space(memory.size_bytes + sizes["monitor_pages"] * 4096 + sizes["translation_buffer_bytes"] + cache)
    return Servant(parent, start, memory)
