"""An engine that plays a list of made-up exits: for handlers under test, and to show what an engine does.

It answers through the same DispatchTable as a real one, with the same checks and the same rules for replies, and
keeps what was answered. Time moves EXIT_NS an exit, and over idle stretches to the next deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from guest_sdk import abi
from pv.dispatch import ANY_KEY, DispatchTable, Row, Shape
from pv.engines.base import GENERAL_REGISTERS, GuestFault, Latency, RecordedExit, RingState, Translated
from pv.engines.batch import call_batch, call_ring
from pv.engines.scripted_cpu import MASK, NotedCpu
from pv.exits import NEXT, Direction, Exit, GuestError, Reason, Reply, ReplyKind, StopWhy, fault
from pv.memory import GuestMemory

EXIT_NS: Final = 1000
RECORDS: Final = 64
WAKES_MOST: Final = 1000  # timers that may pass in one wait before it counts as one that nothing ends
RUN_ON: Final = None

Ended = tuple[StopWhy, int, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One exit to play, the general registers that the guest has set before it, and a port access's direction."""

    exit: Exit
    registers: Mapping[str, int] = field(default_factory=dict)
    direction: Direction = Direction.READ


def call(number: int, *arguments: int, cpl: int = 1) -> Step:
    """VMCALL with `number` and up to six arguments."""
    registers = dict(zip(abi.ARGUMENT_REGISTERS, arguments, strict=False))
    return Step(
        Exit(Reason.VMCALL, key=number & MASK, length=3, cpl=cpl), {**registers, abi.NUMBER_REGISTER: number & MASK}
    )


def port_in(port: int, size: int = 1) -> Step:
    """IN AL/AX/EAX, DX."""
    return Step(Exit(Reason.IO_INSTRUCTION, key=port, size=size, length=1), {"rdx": port})


def port_out(port: int, value: int, size: int = 1) -> Step:
    """OUT DX, AL/AX/EAX."""
    exit_ = Exit(Reason.IO_INSTRUCTION, key=port, value=value, size=size, length=1)
    return Step(exit_, {"rdx": port, "rax": value}, Direction.WRITE)


def script(*steps: Step) -> Callable[..., ScriptedVcpu]:
    """An engine factory for Machine(engine=script(...)): every machine of it plays `steps`."""

    def make(memory: GuestMemory, **options: Any) -> ScriptedVcpu:
        return ScriptedVcpu(memory, steps, **options)

    return make


class ScriptedVcpu(NotedCpu):
    """Plays `steps` in order; a script that is used up halts.

    replies: what was answered, in order: the Reply, or the number that a call or an IN returned.
    """

    def __init__(self, memory: GuestMemory, steps: tuple[Step, ...] | list[Step] = (), **options: Any) -> None:
        super().__init__(memory)
        self.options = options  # what a real engine is made with: decode, mode and the like
        self.replies: list[Reply | int] = []
        self._left = list(reversed(steps))
        self._table = DispatchTable()
        self._now_ns = 0
        self._deadline_ns = -1
        self._on_deadline: Callable[[], None] | None = None
        self._acknowledge: Callable[[], int] | None = None
        self._interrupt_pending = False
        self._stop_status: int | None = None
        self.running = False
        self._counters: dict[tuple[int, int], int] = {}
        self._calls: dict[int, int] = {}
        self._record: list[RecordedExit] = []

    @property
    def now_ns(self) -> int:
        return self._now_ns

    def bind(self, table: DispatchTable) -> None:
        self._table = table

    def set_interrupt_source(self, acknowledge: Callable[[], int]) -> None:
        self._acknowledge = acknowledge

    def request_interrupt(self) -> None:
        self._interrupt_pending = True

    def withdraw_interrupt(self) -> None:
        self._interrupt_pending = False

    def set_deadline(self, deadline_ns: int) -> None:
        self._deadline_ns = deadline_ns

    def set_timer_source(self, on_deadline: Callable[[], None]) -> None:
        self._on_deadline = on_deadline

    def counters(self) -> dict[tuple[int, int], int]:
        return dict(self._counters)

    def calls(self) -> dict[int, int]:
        return dict(self._calls)

    def events(self) -> dict[str, int]:
        return {"injected": len(self.injected)}

    def translation_statistics(self) -> dict[str, int]:
        """Empty: nothing runs, so nothing is translated."""
        return {}

    def translations(self) -> list[Translated]:
        return []

    def time_exits(self, on: bool) -> None:
        self.done.append(("time_exits", (on,)))

    def latencies(self) -> dict[tuple[int, int], Latency]:
        """None: a made-up exit takes no time that means anything."""
        return {}

    def flight_record(self) -> list[RecordedExit]:
        return self._record[-RECORDS:]

    def run(self, max_exits: int, timeout_ns: int) -> Ended:  # noqa: ARG002 (a script is finite)
        """Play what is left of the script, or `max_exits` of it."""
        self.running = True
        try:
            return self._play_all(max_exits)
        finally:
            self.running = False

    def _play_all(self, max_exits: int) -> Ended:
        played = 0
        while self._left:
            if self._stop_status is not None:
                status, self._stop_status = self._stop_status, None
                return (StopWhy.STOPPED, status, "")
            if max_exits and played == max_exits:
                return (StopWhy.MAX_EXITS, 0, f"{max_exits} exits")
            played += 1
            ended = self._play(self._left.pop())
            if ended:
                return ended
        return (StopWhy.HALTED, 0, "the script is used up")

    def stop(self, status: int) -> None:
        self._stop_status = status

    def call(self, number: int, arguments: tuple[int, ...]) -> int:
        return self._call_inside(number, arguments, user=self.cpl == 3)

    def _call_inside(self, number: int, arguments: tuple[int, ...], *, user: bool = False) -> int:
        """A call that is no exit of its own."""
        row = self._table.find(Reason.VMCALL, number, Shape.CALL) if number < 1 << 32 else None
        if row is not None and not row.batchable:
            return -abi.ERRNO["EINVAL"]
        answer = self._call(number, arguments, user=user)
        if isinstance(answer, Reply):
            raise GuestError(abi.ERRNO["EINVAL"], f"call {number:#x} cannot stand in a batch")
        return answer

    def close(self) -> None:
        """Let go of every handler."""
        self._table = DispatchTable()
        self._on_deadline = self._acknowledge = None

    def _play(self, step: Step) -> Ended | None:
        for name, value in step.registers.items():
            setattr(self, name, value & MASK)
        exit_ = self.exit = step.exit
        exit_.rip = self.rip = exit_.rip or self.rip
        self._now_ns += EXIT_NS
        counted = (exit_.reason, exit_.key)
        self._counters[counted] = self._counters.get(counted, 0) + 1
        self._keep_record(exit_)
        try:
            answer = self._answer(exit_, step.direction)
        except GuestFault as error:
            answer = fault(error.vector, error.error_code)
        if answer is None:
            return (StopWhy.UNHANDLED, 0, f"{Reason(exit_.reason).name} {exit_.key:#x} has no handler")
        self.replies.append(answer)
        if not isinstance(answer, Reply):
            self._set_result(exit_, answer)
            answer = NEXT
        ended = self._apply(answer, exit_)
        self._take_events()
        return ended

    def _answer(self, exit_: Exit, direction: Direction) -> Reply | int | None:
        """What the row for `exit_` answers; None where there is none that Python can ask."""
        if exit_.reason == Reason.VMCALL:
            arguments = tuple(getattr(self, name) for name in abi.ARGUMENT_REGISTERS)
            return self._call(exit_.key, arguments, user=self.cpl == 3)
        port_shape = Shape.WRITE if direction is Direction.WRITE else Shape.READ
        shape = port_shape if exit_.reason == Reason.IO_INSTRUCTION else Shape.EXIT
        row = self._table.find(Reason(exit_.reason), exit_.key, shape)
        return None if row is None else CALL_AS[shape](row, exit_)

    def call_batch(self, entries_gpa: int, count: int) -> int:
        return call_batch(self.memory, self.call, entries_gpa, count)

    def call_ring(self, ring: RingState) -> int:
        return call_ring(self.memory, self._call_inside, ring)

    def _call(self, number: int, arguments: tuple[int, ...], *, user: bool) -> Reply | int:
        """A hypercall's checks in their order: number, privilege, width of each argument; then its handler."""
        self._calls[number] = self._calls.get(number, 0) + 1
        row = self._table.find(Reason.VMCALL, number, Shape.CALL) if number < 1 << 32 else None
        if row is None:
            return -abi.ERRNO["ENOSYS"]
        if user and not row.user_allowed:
            return -abi.ERRNO["EPERM"]
        taken = arguments[: len(row.argument_bits)]
        if any(value >> bits for value, bits in zip(taken, row.argument_bits, strict=True)):
            return -abi.ERRNO["EINVAL"]
        try:
            answer: Reply | int = row.handler(*taken)
        except GuestError as error:
            return -error.errno
        return answer

    def _set_result(self, exit_: Exit, value: int) -> None:
        """RAX after a call; AL, AX or (zero-extended) EAX after an IN."""
        kept = {1: 0xFF, 2: 0xFFFF}.get(exit_.size) if exit_.reason == Reason.IO_INSTRUCTION else None
        self.rax = value & MASK if kept is None else self.rax & ~kept | value & kept

    def _apply(self, reply: Reply, exit_: Exit) -> Ended | None:
        if reply.kind in (ReplyKind.NEXT, ReplyKind.WAIT, ReplyKind.STOP, ReplyKind.PANIC):
            self.rip = exit_.rip + exit_.length
        if reply.kind is ReplyKind.FAULT:
            self.inject(reply.vector, reply.error_code)
        if reply.kind is ReplyKind.STOP:
            return (StopWhy.EXITED, reply.status, "")
        if reply.kind is ReplyKind.PANIC:
            return (StopWhy.PANICKED, 0, reply.message)
        return self._wait() if reply.kind is ReplyKind.WAIT else RUN_ON

    def _wait(self) -> Ended | None:
        for _ in range(WAKES_MOST):
            if self._interrupt_pending:
                return RUN_ON
            if self._deadline_ns < 0:
                break
            self._now_ns = max(self._now_ns, self._deadline_ns)
            self._call_timer()
        return (StopWhy.HALTED, 0, "nothing can wake the guest")

    def _take_events(self) -> None:
        """Call the timer source where its deadline passed; deliver an interrupt where the guest can take one."""
        if 0 <= self._deadline_ns <= self._now_ns:
            self._call_timer()
        if self._interrupt_pending and self.virtual.interrupt_flag and self._acknowledge:
            self._interrupt_pending = False
            if (vector := self._acknowledge()) >= 0:
                self.inject(vector)

    def _call_timer(self) -> None:
        self._deadline_ns = -1
        if self._on_deadline:
            self._on_deadline()

    def _keep_record(self, exit_: Exit) -> None:
        registers = tuple(int(getattr(self, name)) for name in GENERAL_REGISTERS)
        code = self.memory.read(exit_.rip, 15) if exit_.rip <= self.memory.size_bytes - 15 else b""
        number = sum(self._counters.values())
        self._record.append(
            RecordedExit(number, exit_.reason, exit_.key, exit_.rip, self.rflags, exit_.cpl, registers, code)
        )
        del self._record[:-RECORDS]


def _offset(row: Row, exit_: Exit) -> int:
    """Where in its range a port lies; the port itself for a row of any key."""
    return exit_.key if row.first == ANY_KEY else exit_.key - row.first


def _exit(row: Row, exit_: Exit) -> Reply:
    reply: Reply = row.handler(exit_)
    return reply


def _read(row: Row, exit_: Exit) -> Reply | int:
    answer: Reply | int = row.handler(_offset(row, exit_), exit_.size)
    return answer


def _write(row: Row, exit_: Exit) -> Reply:
    return row.handler(_offset(row, exit_), exit_.size, exit_.value) or NEXT


CALL_AS: Final[Mapping[Shape, Callable[[Row, Exit], Reply | int]]] = {
    Shape.EXIT: _exit,
    Shape.READ: _read,
    Shape.WRITE: _write,
}
