"""One virtual machine: memory, a processor, a technique and tables put together, and run.

    with Machine(memory="16MiB", technique="paravirt") as machine:
        machine.load("guest.elf")
        outcome = machine.run(timeout=5)

Nothing here is on the path of an exit. Handlers are given a weak proxy of their machine, so that a machine that is
dropped is freed at once, and close() breaks what else refers back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from os import PathLike
from typing import Any, Final, Self

from pv.arguments import budgets, check_arguments
from pv.assembly import LateParties, ask, build_table, claim_features, find_members, known_options, rows_of
from pv.boot import start_guest
from pv.branching import Branching
from pv.clock import Clock
from pv.console import Console
from pv.devices.pc import Pc
from pv.disk import Disk
from pv.dispatch import DispatchTable, Row
from pv.emulate.apic_registers import apic_rows
from pv.emulate.mmio import mmio_rows
from pv.emulate.system_registers import SystemRegisters
from pv.engine_options import OWN_OPTIONS, cache_bytes, control_block, engine_sizes
from pv.engines import EngineFactory, find_engine
from pv.grants import limit_calls
from pv.guest_call import GuestFunction, GuestFunctions
from pv.life import Life
from pv.loaders import Image, load, read_guest
from pv.memory import GuestMemory, parse_size
from pv.options import settle_options
from pv.outcome import RESUMABLE, Outcome, make_outcome
from pv.plugin import LoadedPlugin
from pv.snapshot import Snapshot
from pv.techniques import Technique
from pv.techniques import technique as find_technique
from pv.trace import Sink, wrap_rows

log = logging.getLogger("pvkit")

CONSOLE_FULL: Final = "the console is full and refused what the guest wrote; Console(most_bytes=...) takes more"
ISOLATIONS: Final = {"none": "pv.machine:Machine", "process": "pv.isolation:ProcessMachine"}  # imported when asked for


class Machine(Life, Branching):
    """One VM of `memory` bytes (`16MiB`, 4096 KiB ...) under `technique`, on `engine` (a name, or a factory).

    isolation: "process" has the guest run in a worker process, behind the same verbs: see pv.isolation. memory: a
    GuestMemory is used as it is and closed with the machine.
    hypercalls: Hypercall or Plugin objects beside the installed plugins; plugins=False leaves those out.
    strict: a plugin that fails to import is an error. grants: names of the calls that this guest may make, None for
    all. quotas: most calls a second (virtual) by name. console: a Console, or a callable that gets the bytes.
    disks: Disk objects, which stay the caller's to close, or `FILE` and `FILE:MODE` (ro, rw, cow; ro where left out).
    options: values by name, of OWN_OPTIONS and of the plugins' as `PLUGIN.OPTION`. trace: a callable or stream that
    gets a line an exit.

    Raises ValueError for an argument it cannot use, Collision and PluginError as pv.dispatch and pv.plugin say.
    """

    console: Console
    technique: Technique
    memory: GuestMemory
    clock: Any  # a Clock, or what stands for the one of a worker process
    pc: Pc | None
    options: Mapping[str, Any]
    features: Mapping[str, int]  # plugins' own bits by name
    call_numbers: Mapping[str, int]

    def __new__(cls, *, isolation: str = "none", **_arguments: Any) -> Self:
        """A Machine, of the class that `isolation` names. Raises ValueError with those there are."""
        if cls is not Machine or isolation == "none":
            return super().__new__(cls)
        if isolation not in ISOLATIONS:
            raise ValueError(f"isolation={isolation!r} is not known: {', '.join(ISOLATIONS)}")
        module, _, name = ISOLATIONS[isolation].partition(":")
        found: type[Self] = getattr(import_module(module), name)
        return super().__new__(found)

    def __init__(
        self,
        *,
        isolation: str = "none",
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
        _snapshot: Snapshot | None = None,  # from_snapshot() alone: begin with its pages,
        _like: Machine | None = None,  # and take this machine's table
    ) -> None:
        check_arguments(memory, disabled_plugins, grants, quotas, console, disks)
        self.isolation = isolation
        self._begin()
        self._time_exits = time_exits
        self.image: Image | None = None  # what load() placed; a machine made of a file's snapshot has none
        self.has_guest = False
        self._functions: GuestFunctions | None = None
        self.outcome: Outcome | None = None
        self.grants: Final = None if grants is None else frozenset(grants)
        self.quotas: Final = dict(quotas or {})
        self.quota_usage: dict[str, list[int]] = {}  # [second, calls made in it] of each call that has a quota
        self.system: Final = SystemRegisters()
        self._table: DispatchTable | None = None
        hypercalls = tuple(hypercalls)
        self._made_with = {
            "engine": engine, "hypercalls": hypercalls, "plugins": plugins, "disabled_plugins": disabled_plugins,
            "strict": strict, "time_exits": time_exits,
        }  # fmt: skip  # what fork() makes the next one with
        self.console = console if isinstance(console, Console) else Console(console)
        self.technique = find_technique(technique)
        make_vcpu = find_engine(engine)
        members, reports = find_members(
            self.technique, hypercalls, plugins=plugins, disabled=disabled_plugins, strict=strict
        )
        self.notes += reports
        self.options = settle_options(options or {}, known_options(OWN_OPTIONS, members))
        self.features = claim_features(members)
        self.members: Final = members
        try:
            for disk in disks:
                self._add_disk(disk)
            self.memory = memory if isinstance(memory, GuestMemory) else _new_memory(memory, _snapshot)
            self._cleanup.callback(self.memory.close)
            self.vcpu = self._make_vcpu(make_vcpu, _snapshot)
            self.clock = Clock(self.vcpu)
            self._cleanup.callback(self.clock.close)
            self.vcpu.set_timer_source(self.clock.fire)
            self.pc = self._make_pc() if self.technique.boot == "guest tables" else None
            for member in members:
                self._set_up_plugin(member)
            self._parties = LateParties(self._party_rows(members))
            self.call_numbers = {}
            self._wrapped = bool(trace is not None or grants is not None or quotas)
            if _like is None or self._wrapped or not hasattr(self.vcpu, "bind_like"):
                self._table, self.call_numbers = build_table(
                    self._parties.ask_all(),
                    lambda rows: limit_calls(rows, self.grants, self.quotas, self.clock, self.quota_usage),
                    lambda rows: rows if trace is None else wrap_rows(rows, self.vcpu, trace),
                )
                self.vcpu.bind(self._table)
            else:  # the same rows in the same order: handlers are made as exits ask for them
                self.call_numbers = _like.call_numbers
                self._parties.counts = _like._parties.counts
                self.vcpu.bind_like(_like.vcpu, self._parties.rows_at)
            if time_exits:
                self.vcpu.time_exits(True)
        except BaseException:
            self._log_all(self._free())
            raise

    def load(self, guest: str | PathLike[str] | bytes) -> None:
        """Put a guest into memory: an ELF or flat image, as a path or as its bytes.

        Raises pv.loaders.LoadError for what is no guest, OSError where the file cannot be read.
        """
        self._check_open("load()")
        if self.has_guest:
            raise RuntimeError("load(): this machine has a guest already; make another machine for another guest")
        data = bytes(guest) if isinstance(guest, bytes | bytearray | memoryview) else read_guest(guest)
        image = load(data, self.memory.size_bytes)
        start_guest(self.vcpu, self.memory, image, self.technique.boot)
        self.take_image(image)
        self.has_guest = True
        if image.abi_version is not None and not self.technique.takes_hypercalls:
            self._note(
                f"the guest is made for hypercalls, which technique {self.technique.name!r} does not take; "
                "technique 'paravirt' does"
            )
        if image.abi_version is None and self.technique.takes_hypercalls:
            self._note(
                "the guest does not say that it makes hypercalls; 'trap' and 'hardware' run one made for a plain PC"
            )

    def run(self, timeout: float | None = None, max_exits: int | None = None) -> Outcome:
        """Run the guest until it ends, for `timeout` seconds of the host, or for `max_exits` exits.

        After MAX_EXITS, TIMEOUT or STOPPED, and after a handler's exception (which leaves here as it is), it may be
        called again. Raises RuntimeError where there is no guest to run, or where it runs already.
        """
        self._check_open("run()")
        if self._running:
            raise RuntimeError("run(): this machine runs already; a handler or another thread cannot run it again")
        if not self.has_guest:
            raise RuntimeError("run(): there is no guest; call load() first")
        if self.outcome is not None and self.outcome.why not in RESUMABLE:
            raise RuntimeError(f"run(): the guest has ended: {self.outcome.summary}")
        timeout_ns, exits = budgets(timeout, max_exits)
        started = time.perf_counter()
        ended = self.vcpu.run(exits, timeout_ns)
        self.outcome = make_outcome(
            self.vcpu,
            ended,
            call_names={number: name for name, number in self.call_numbers.items()},
            console=self.console.text,
            seconds=time.perf_counter() - started,
            timed=self._time_exits,
            console_refused=self.console.refused,
        )
        if self.console.refused:
            self._note_once(CONSOLE_FULL)
        return self.outcome

    def function(self, name: str | int, *, returns: Any = int) -> GuestFunction:
        """A function of the guest, by its symbol or address: pv.guest_call says what it takes and gives.

        Raises GuestCallError where there is none, TypeError for `returns`, RuntimeError before load().
        """
        self._check_open("function()")
        if self._functions is None:
            raise RuntimeError("function(): there is no guest; call load() first")
        return self._functions.find(name, returns)

    def call(self, name: str | int, *arguments: Any, returns: Any = int, timeout: float | None = None) -> Any:
        """Call a function of the guest, from a hypercall's handler or between runs. Raises as function() and it do."""
        function = self.function(name, returns=returns)
        return function(*arguments) if timeout is None else function(*arguments, timeout=timeout)

    def stop(self, status: int = 0) -> None:
        """Have run() return STOPPED with `status`, from a handler or from any thread."""
        self._check_open("stop()")
        self.vcpu.stop(status)

    def patch(self, gpa: int, data: bytes) -> None:
        """Write guest memory that may hold code. Raises GuestError(EFAULT) outside memory."""
        self._check_open("patch()")
        self.vcpu.write_code(gpa, data)

    def take_image(self, image: Image | None) -> None:
        """What stands in memory, and so where its functions are."""
        self.image = image
        if image is not None:
            self._functions = GuestFunctions(self.vcpu, image, self.technique)

    @property
    def table(self) -> DispatchTable:
        """Every row of this machine; a fork makes them at the first question."""
        if self._table is None:
            self._table, _ = build_table(self._parties.ask_all())
        return self._table

    def _make_vcpu(self, make: EngineFactory, snapshot: Snapshot | None) -> Any:
        sizes = engine_sizes(self.options, self.memory.size_bytes)
        more: dict[str, Any] = {} if snapshot is None else {"frozen": snapshot.tables}
        controls = control_block(self.technique, self.options)
        if controls is not None:
            more["controls"] = controls
        if self.technique.translator is not None:
            more |= {"translator": self.technique.translator, "cache_bytes": cache_bytes(self.options)}
        vcpu = make(self.memory, decode=self.technique.decode, mode=self.technique.mode, **sizes, **more)
        self._cleanup.callback(vcpu.close)
        return vcpu

    def _make_pc(self) -> Pc:
        vcpu, clock = self.vcpu, self.clock

        def task_priority(value: int) -> None:
            vcpu.virtual.cr8 = value

        pc = Pc(
            console_write=self.console.write,
            interrupt=lambda level: vcpu.request_interrupt() if level else vcpu.withdraw_interrupt(),
            task_priority=task_priority,
            now_ns=lambda: clock.now_ns,
            at=clock.at,
            memory_bytes=self.memory.size_bytes,
            disks=self.disks,
            queue=vcpu.interrupt_queue,
            describe=vcpu.describe_apic,
        )
        vcpu.set_interrupt_source(pc.acknowledge)
        return pc

    def _party_rows(self, members: Iterable[LoadedPlugin]) -> Iterator[tuple[str, Callable[[], Iterable[Row]]]]:
        """Who brings rows, in the order in which they are asked. Nothing here holds the machine."""
        vcpu, technique, system = self.vcpu, self.technique, self.system
        yield f"technique {technique.name}", lambda: technique.rows(vcpu, vcpu.native, system)
        if self.pc is not None:
            yield "devices", self.pc.rows
            yield "devices", partial(mmio_rows, vcpu, self.pc.windows())
            yield "devices", partial(apic_rows, vcpu, self.pc.apic, "local APIC")
        for member in members:
            yield member.source, partial(ask, member, "cannot bring its hypercalls", rows_of, member, self.for_plugins)


def _new_memory(size: str | int, snapshot: Snapshot | None) -> GuestMemory:
    """Zeroed memory, or what a snapshot's machine had."""
    size_bytes = parse_size(size)
    return GuestMemory(size_bytes) if snapshot is None else GuestMemory(size_bytes, frozen=snapshot.memory)
