"""The scripted engine: the same checks and replies as a real one, on made-up exits."""

from typing import Any

import pytest

from guest_sdk import abi
from pv.dispatch import ANY_KEY, DispatchTable, Row, Shape
from pv.engines.base import GuestFault
from pv.engines.scripted import EXIT_NS, ScriptedVcpu, Step, call, port_in, port_out
from pv.exits import AGAIN, NEXT, WAIT, Exit, GuestError, Reason, Reply, StopWhy, fault, panic, stop
from pv.memory import GuestMemory

ENOSYS, EPERM, EINVAL = (-abi.ERRNO[name] for name in ("ENOSYS", "EPERM", "EINVAL"))


def play(rows: list[Row], *steps: Step) -> ScriptedVcpu:
    """A vcpu that has played `steps` to their end."""
    vcpu = ScriptedVcpu(GuestMemory(2 << 20), steps)
    vcpu.bind(DispatchTable(rows))
    vcpu.run(0, 0)
    return vcpu


def calls(handler: Any, *bits: int, user_allowed: bool = False) -> list[Row]:
    return [Row(Reason.VMCALL, 7, 7, handler, "test", "seven", Shape.CALL, bits, user_allowed)]


def answers(reply: Reply, reason: Reason = Reason.HLT) -> list[Row]:
    return [Row(reason, ANY_KEY, ANY_KEY, lambda _exit: reply, "test")]


def test_a_call_gets_its_arguments_and_gives_its_result() -> None:
    vcpu = play(calls(lambda one, two: one * 10 + two, 64, 32), call(7, 4, 2))
    assert (vcpu.rax, vcpu.replies) == (42, [42])
    assert vcpu.rip == abi.LOAD_FIRST + 3
    assert vcpu.counters() == {(Reason.VMCALL, 7): 1}
    assert vcpu.calls() == {7: 1}


@pytest.mark.parametrize(
    ("step", "result"),
    [
        (call(8), ENOSYS),
        (call(7 | 1 << 32), ENOSYS),
        (call(7, 1 << 32), EINVAL),
        (call(7, cpl=3), EPERM),
        (call(7, 1), -5),
    ],
)
def test_a_calls_checks_in_their_order(step: Step, result: int) -> None:
    def refuse(_value: int) -> int:
        raise GuestError(5)

    vcpu = play(calls(refuse, 32), step)
    assert vcpu.replies == [result]
    assert vcpu.rax == result & (1 << 64) - 1


def test_a_call_from_cpl_3_where_its_row_allows_it() -> None:
    assert play(calls(lambda: 1, user_allowed=True), call(7, cpl=3)).replies == [1]


def test_ports_by_direction_with_their_offset() -> None:
    seen: list[tuple[int, ...]] = []
    rows = [
        Row(Reason.IO_INSTRUCTION, 0x3F8, 0x3FF, lambda offset, size: offset + size, "chip", "", Shape.READ),
        Row(Reason.IO_INSTRUCTION, 0x3F8, 0x3FF, lambda *cycle: seen.append(cycle), "chip", "", Shape.WRITE),
        Row(Reason.IO_INSTRUCTION, ANY_KEY, ANY_KEY, lambda port, _size: port, "nobody", "", Shape.READ),
    ]
    vcpu = play(rows, port_out(0x3F9, 0xAB), port_in(0x3FD), port_in(0x80, 2))
    assert seen == [(1, 1, 0xAB)]
    assert vcpu.replies == [NEXT, 6, 0x80]
    assert vcpu.rax == 0x80


def test_a_narrow_in_keeps_the_rest_of_rax() -> None:
    rows = [Row(Reason.IO_INSTRUCTION, 1, 1, lambda _offset, _size: 0x1FF, "chip", "", Shape.READ)]
    step = port_in(1)
    vcpu = play(rows, Step(step.exit, {"rax": 0x1234}))
    assert vcpu.rax == 0x12FF


def test_rip_moves_by_the_reply() -> None:
    hlt = Step(Exit(Reason.HLT, length=1))
    assert play(answers(NEXT), hlt).rip == abi.LOAD_FIRST + 1
    assert play(answers(AGAIN), hlt).rip == abi.LOAD_FIRST
    faulted = play(answers(fault(13, 0)), hlt)
    assert (faulted.rip, faulted.injected) == (abi.LOAD_FIRST, [(13, 0)])


def test_a_guest_fault_is_injected() -> None:
    def fails(_exit: Exit) -> Reply:
        raise GuestFault(14, 2)

    vcpu = play([Row(Reason.INVLPG, 0, 0, fails, "test")], Step(Exit(Reason.INVLPG)))
    assert vcpu.injected == [(14, 2)]
    assert vcpu.replies == [fault(14, 2)]


def test_how_a_run_ends() -> None:
    memory = GuestMemory(2 << 20)
    vcpu = ScriptedVcpu(memory, [call(7), call(7), call(7), call(7), Step(Exit(Reason.HLT)), Step(Exit(Reason.INVD))])
    vcpu.bind(DispatchTable([*calls(lambda: stop(3)), *answers(WAIT)]))
    assert vcpu.run(0, 0) == (StopWhy.EXITED, 3, "")
    assert vcpu.run(1, 0)[:2] == (StopWhy.EXITED, 3)
    vcpu.stop(9)
    assert vcpu.run(0, 0) == (StopWhy.STOPPED, 9, "")
    vcpu.bind(DispatchTable([*calls(lambda: panic("no way")), *answers(WAIT)]))
    assert vcpu.run(1, 0) == (StopWhy.PANICKED, 0, "no way")
    vcpu.bind(DispatchTable([*calls(lambda: 0), *answers(WAIT)]))
    assert vcpu.run(1, 0) == (StopWhy.MAX_EXITS, 0, "1 exits")
    assert vcpu.run(0, 0) == (StopWhy.HALTED, 0, "nothing can wake the guest")
    assert vcpu.run(0, 0) == (StopWhy.UNHANDLED, 0, "INVD 0x0 has no handler")
    assert vcpu.run(0, 0)[0] is StopWhy.HALTED
    assert [entry.number for entry in vcpu.flight_record()] == [1, 2, 3, 4, 5, 6]


def test_waiting_passes_to_the_deadline_and_takes_the_interrupt() -> None:
    vcpu = ScriptedVcpu(GuestMemory(2 << 20), [Step(Exit(Reason.HLT, length=1)), Step(Exit(Reason.HLT, length=1))])
    vcpu.bind(DispatchTable(answers(WAIT)))
    vcpu.virtual.interrupt_flag = True
    vcpu.set_timer_source(vcpu.request_interrupt)
    vcpu.set_interrupt_source(lambda: 0x20)
    vcpu.set_deadline(50_000)
    assert vcpu.run(0, 0)[0] is StopWhy.HALTED
    assert vcpu.injected == [(0x20, None)]
    assert vcpu.now_ns == 50_000 + EXIT_NS


def test_a_handlers_exception_leaves_and_the_guest_goes_on() -> None:
    vcpu = ScriptedVcpu(GuestMemory(2 << 20), [call(7), call(7)])
    results = iter([0])
    vcpu.bind(DispatchTable(calls(lambda: 1 // next(results, 1))))
    with pytest.raises(ZeroDivisionError):
        vcpu.run(0, 0)
    assert vcpu.run(0, 0)[0] is StopWhy.HALTED
    assert vcpu.replies == [1]


def test_a_call_within_a_call_is_counted_as_a_call_only() -> None:
    vcpu = ScriptedVcpu(GuestMemory(2 << 20), [call(7, 9)])
    inner = Row(Reason.VMCALL, 8, 8, lambda value: value + 1, "test", "eight", Shape.CALL, (8,))
    ends = Row(Reason.VMCALL, 9, 9, lambda: stop(0), "test", "nine", Shape.CALL)
    outer = calls(lambda value: vcpu.call(8, (value, 0, 0, 0, 0, 0)), 64)
    vcpu.bind(DispatchTable([*outer, inner, ends]))
    vcpu.run(0, 0)
    assert vcpu.replies == [10]
    assert vcpu.counters() == {(Reason.VMCALL, 7): 1}
    assert vcpu.calls() == {7: 1, 8: 1}
    assert vcpu.call(8, (1 << 8,)) == EINVAL
    with pytest.raises(GuestError):
        vcpu.call(9, ())
