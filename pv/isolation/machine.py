"""A machine whose guest runs in a process of its own: what pv.machine.Machine is, seen from the parent.

The worker holds an ordinary machine: processor, devices, installed plugins. Here live what the caller handed over:
handlers, console, trace, and a mapping of the same guest memory. Whatever ends the worker is the outcome of a run.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, Final

from pv.arguments import budgets, check_arguments
from pv.assembly import find_members
from pv.console import Console
from pv.disk import Disk
from pv.dispatch import Row
from pv.engines import EngineFactory
from pv.exits import StopWhy
from pv.guest_call import GuestFunctions
from pv.isolation.errors import HandlerRaised, WorkerEnded
from pv.isolation.functions import Functions
from pv.isolation.link import Link
from pv.isolation.protocol import NOTHING, RAISED
from pv.isolation.proxy import RemoteClock, remote_vcpu
from pv.isolation.rows import answer_row, describe_row
from pv.loaders import read_guest
from pv.machine import Machine
from pv.memory import GuestMemory, parse_size
from pv.outcome import RESUMABLE, ExitCounts, Outcome
from pv.techniques import technique as find_technique
from pv.trace import Sink
from pv.trace.text import line_sink

CLOSE_S: Final = 5.0  # plugins have so long to tear down what they keep


class ProcessMachine(Machine):
    """Machine(isolation="process"), with the same arguments and the same verbs.

    engine: a name. hypercalls: their handlers are called here, those of installed plugins in the worker.
    Raises, beside what Machine raises, ValueError for what cannot cross, and LaunchError where no worker can be had.
    """

    def __init__(
        self,
        *,
        isolation: str = "process",
        memory: str | int | GuestMemory = "16MiB",
        technique: str = "paravirt",
        engine: str | EngineFactory = "unicorn",
        hypercalls: Iterable[Any] = (),
        plugins: bool = True,
        disabled_plugins: Collection[str] = (),
        strict: bool = False,
        grants: Iterable[str] | None = None,
        quotas: Mapping[str, int] | None = None,
        console: Console | Callable[[bytes], object] | None = None,
        disks: Iterable[Disk | str | PathLike[str]] = (),
        options: Mapping[str, Any] | None = None,
        time_exits: bool = False,
        trace: Sink | None = None,
        _snapshot: Any = None,
        _like: Any = None,
    ) -> None:
        if _snapshot is not None or _like is not None:
            raise ValueError("isolation='process' cannot begin with a snapshot; leave isolation out")
        check_arguments(memory, disabled_plugins, grants, quotas, console, disks)
        if not isinstance(engine, str) or isinstance(memory, GuestMemory):
            what = "memory" if isinstance(engine, str) else "engine"
            raise ValueError(
                f"{what}=: an object of this process cannot be in another; isolation='process' takes a name or size"
            )
        self.isolation = isolation
        self._begin()
        self._functions = None
        self._raised: BaseException | None = None
        self._rows: list[Row] = []
        self._answers: list[Callable[[tuple[int, ...]], tuple[int, ...]]] = []
        self.image = None
        self.outcome = None
        self.console = console if isinstance(console, Console) else Console(console)
        self.technique = find_technique(technique)
        self.pc = None
        self._emit = None if trace is None else line_sink(trace)
        given, _ = find_members(self.technique, hypercalls, plugins=False, disabled=(), strict=strict)
        arguments = {
            "technique": technique,
            "engine": engine,
            "plugins": plugins,
            "disabled_plugins": list(disabled_plugins),
            "strict": strict,
            "grants": None if grants is None else list(grants),
            "quotas": None if quotas is None else dict(quotas),
            "options": dict(options or {}),
            "time_exits": time_exits,
        }
        try:
            for disk in disks:
                self._add_disk(disk)
            descriptor = os.memfd_create("pvkit guest", os.MFD_CLOEXEC)
            try:
                self.memory = GuestMemory(parse_size(memory), descriptor)
                self._cleanup.callback(self.memory.close)
                self._link = Link(self._answer)
                self._cleanup.callback(self._end_worker)
                self.vcpu = remote_vcpu(self._link.ask)
                self.clock = RemoteClock(self._link.ask)
                members = []
                for member in given:
                    self._set_up_plugin(member)
                    members.append(self._bind(member.plugin))
                made = self._link.start(
                    {
                        "memory_bytes": self.memory.size_bytes,
                        "members": members,
                        "disks": list(map(_disk_parts, self.disks)),
                        "traced": trace is not None,
                        "echoes": self.console.echo is not None,
                        "console_most_bytes": self.console.room,
                        "arguments": arguments,
                    },
                    [descriptor],
                )
            finally:
                os.close(descriptor)
            self.notes += made["notes"]
            self.options = made["options"]
            self.call_numbers = made["call_numbers"]
            self.features = made["features"]
        except BaseException:
            self._log_all(self._free())
            raise

    def load(self, guest: str | PathLike[str] | bytes) -> None:
        """As Machine.load(). The worker reads the file's format, so that a file made to harm its reader harms that."""
        self._check_open("load()")
        data = bytes(guest) if isinstance(guest, bytes | bytearray | memoryview) else read_guest(guest)
        self.image, notes = self._link.ask("load", data)
        self._functions = GuestFunctions(Functions(self._link, self.vcpu), self.image, self.technique)
        self._add_notes(notes)

    def run(self, timeout: float | None = None, max_exits: int | None = None) -> Outcome:
        """As Machine.run(); a worker that ends, or is not back some seconds after `timeout`, gives ENGINE_ABORT.

        Such an outcome has no counts, registers or record: they went with the process.
        """
        self._check_open("run()")
        if self._running:
            raise RuntimeError("run(): this machine runs already; a handler or another thread cannot run it again")
        if self.outcome is not None and self.outcome.why not in RESUMABLE:
            raise RuntimeError(f"run(): the guest has ended: {self.outcome.summary}")
        timeout_ns, _ = budgets(timeout, max_exits)
        link = self._link
        link.running = True
        started = time.monotonic()
        link.deadline = started + timeout_ns / 1e9 + link.grace_s if timeout_ns else None
        try:
            with _interrupts_stop(link) as interrupted:
                try:
                    outcome, notes = link.ask("run", timeout, max_exits)
                except HandlerRaised:
                    raise self._take_raised() from None
                except WorkerEnded as ended:
                    outcome, notes = lost(str(ended), time.monotonic() - started), self.notes
            if interrupted:
                raise KeyboardInterrupt
        finally:
            link.deadline = None
            link.running = False
        self._take_console()
        self.outcome = dataclasses.replace(outcome, console=self.console.text)
        self._add_notes(notes)
        return self.outcome

    def stop(self, status: int = 0) -> None:
        """As Machine.stop(); a worker that does not heed it within some seconds is killed."""
        self._check_open("stop()")
        self._link.stop(status)

    def patch(self, gpa: int, data: bytes) -> None:
        """As Machine.patch()."""
        self._check_open("patch()")
        self._link.ask("call", "machine", "patch", (gpa, bytes(data)), {})

    @property
    def process_id(self) -> int:
        """The worker's."""
        return self._link.process

    @property
    def _running(self) -> bool:
        return hasattr(self, "_link") and self._link.running

    def _end_worker(self) -> None:
        """Have the worker's plugins tear down what they keep, and end it."""
        link = self._link
        if not link.ended and hasattr(self, "call_numbers"):
            link.deadline = time.monotonic() + CLOSE_S
            with suppress(WorkerEnded):
                link.ask("close")
            self._take_console()
        link.close()

    # ---- what the worker asks ----

    def _bind(self, plugin: Any) -> list[Any]:
        """Bind a member's rows here: what the worker must know of it."""
        described = []
        for row in plugin.rows(weakref.proxy(self)):
            described.append(describe_row(len(self._rows), row))
            self._rows.append(row)
            self._answers.append(answer_row(row))
        return [plugin.name, described, tuple(getattr(plugin, "features", ()))]

    def _answer(self, words: tuple[int, ...], frame: Any) -> tuple[int, ...]:
        """The reply to one request. What a handler raises is kept for run(), which raises it later."""
        try:
            if self._link.console_used():
                self._take_console()
            if frame is not None:
                if frame[0] == "trace" and self._emit is not None:
                    self._emit(frame[1])
                return (NOTHING,)
            if words[0] < len(self._answers):
                return self._answers[words[0]](words[1:])
            return (NOTHING,)  # the console's text is all that it brought
        except BaseException as error:
            self._raised = error
            return (RAISED,)

    def _take_raised(self) -> BaseException:
        error, self._raised = self._raised, None
        return (
            error if error is not None else RuntimeError("the worker process speaks of an exception that nobody raised")
        )

    def _take_console(self) -> None:
        """Hand on what the guest has said since this was last asked."""
        link = self._link
        used = link.console_used()
        if used:
            data = bytes(link.room[:used])
            link.console_taken()
            self.console.write(data)

    def _add_notes(self, notes: Iterable[str]) -> None:
        for line in notes:
            self._note_once(line)


def lost(why: str, seconds: float) -> Outcome:
    """The outcome of a run whose worker is gone."""
    return Outcome(
        why=StopWhy.ENGINE_ABORT,
        status=None,
        detail=why,
        rip=0,
        code=b"",
        exits=ExitCounts(),
        by_key={},
        calls={},
        events={},
        latencies={},
        record=(),
        seconds=seconds,
        console="",
    )


def _disk_parts(disk: Disk) -> tuple[str, str]:
    """Raises ValueError for a disk whose contents are in this process's memory."""
    if disk.written:
        raise ValueError(
            f"disk {disk.path}: what was written to it is in this process; isolation='process' wants a fresh one"
        )
    return str(Path(disk.path).absolute()), disk.mode  # the zygote's folder may be another


@contextmanager
def _interrupts_stop(link: Link) -> Iterator[list[int]]:
    """Let Ctrl-C stop the guest, in the main thread and where Python's own handler would raise: gives what came.

    An exception in the midst of a conversation would leave nobody knowing whose turn it is. In a handler of the
    caller's it is raised where it always is: pv.isolation.link asks handlers apart from all that.
    """
    interrupts: list[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield interrupts
        return

    def stop(number: int, _frame: object) -> None:
        interrupts.append(number)
        link.stop(0)

    signal.signal(signal.SIGINT, stop)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
