"""A line an exit, from wrapped handlers; nothing where no trace is asked for."""

import io
from typing import Any

import pytest

from pv.dispatch import ANY_KEY, DispatchTable, Row, Shape
from pv.engines.base import GuestFault
from pv.engines.scripted import ScriptedVcpu, Step, call, port_in, port_out
from pv.exits import AGAIN, NEXT, WAIT, Exit, GuestError, Reason, Reply, fault, stop
from pv.memory import GuestMemory
from pv.trace.text import answer_text, error_text, line_sink, wrap_rows


def trace(rows: list[Row], *steps: Step) -> list[str]:
    """The lines of playing `steps`, blanks collapsed."""
    lines: list[str] = []
    vcpu = ScriptedVcpu(GuestMemory(2 << 20), steps)
    vcpu.bind(DispatchTable(wrap_rows(rows, vcpu, lines.append)))
    vcpu.run(0, 0)
    return [" ".join(line.split()) for line in lines]


def test_a_line_for_each_shape() -> None:
    rows = [
        Row(Reason.VMCALL, 0x8001, 0x8001, lambda value: value + 1, "test", "greet", Shape.CALL, (64,)),
        Row(Reason.IO_INSTRUCTION, 0x60, 0x64, lambda _offset, _size: 0xAB, "test", "", Shape.READ),
        Row(Reason.IO_INSTRUCTION, 0x60, 0x64, lambda _offset, _size, _value: None, "test", "", Shape.WRITE),
        Row(Reason.HLT, ANY_KEY, ANY_KEY, lambda _exit: WAIT, "test"),
    ]
    steps = call(0x8001, 0x10), port_in(0x64), port_out(0x60, 0x99), Step(Exit(Reason.HLT, length=1))
    assert trace(rows, *steps) == [
        "1 1000 VMCALL greet rip=0x100000 (0x10) -> 0x11",
        "2 2000 IO_INSTRUCTION port 0x64 read rip=0x100003 size=1 -> 0xab",
        "3 3000 IO_INSTRUCTION port 0x60 write rip=0x100004 size=1 value=0x99 -> next",
        "4 4000 HLT rip=0x100005 -> wait",
    ]


def test_a_device_is_named_with_its_direction() -> None:
    rows = [Row(Reason.MMIO, 0xFEE0_0000, 0xFEE0_0FFF, lambda _exit: NEXT, "test")]
    steps = (Step(Exit(Reason.MMIO, 0xFEE0_00B0, error_code=2)), Step(Exit(Reason.MMIO, 0xFEE0_0020)))
    assert trace(rows, *steps) == [
        "1 1000 MMIO APIC EOI write rip=0x100000 -> next",
        "2 2000 MMIO APIC ID read rip=0x100000 -> next",
    ]


def test_errors_are_written_and_passed_on() -> None:
    def refuse() -> int:
        raise GuestError(22)

    def fails(_exit: Exit) -> Reply:
        raise GuestFault(13, 0)

    rows = [
        Row(Reason.VMCALL, 7, 7, refuse, "test", "seven", Shape.CALL),
        Row(Reason.INVLPG, ANY_KEY, ANY_KEY, fails, "test"),
    ]
    assert trace(rows, call(7), Step(Exit(Reason.INVLPG))) == [
        "1 1000 VMCALL seven rip=0x100000 () -> -EINVAL",
        "2 2000 INVLPG rip=0x100003 -> #GP(0x0)",
    ]


def test_a_call_within_a_call_has_its_own_name() -> None:
    lines: list[str] = []
    vcpu = ScriptedVcpu(GuestMemory(2 << 20), [call(1)])
    rows = [
        Row(Reason.VMCALL, 1, 1, lambda: vcpu.call(2, ()), "test", "outer", Shape.CALL),
        Row(Reason.VMCALL, 2, 2, lambda: 5, "test", "inner", Shape.CALL),
    ]
    vcpu.bind(DispatchTable(wrap_rows(rows, vcpu, lines.append)))
    vcpu.run(0, 0)
    assert [line.split()[3] for line in lines] == ["inner", "outer"]


def test_rows_inside_the_engine_stay_as_they_are() -> None:
    row = Row(Reason.SYSCALL, 0, 0, lambda: None, "test", "", Shape.NATIVE)
    assert wrap_rows([row], ScriptedVcpu(GuestMemory(2 << 20)), print) == [row]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "next"),
        (NEXT, "next"),
        (AGAIN, "again"),
        (WAIT, "wait"),
        (stop(3), "stop(3)"),
        (fault(6), "#UD"),
        (fault(14, 2), "#PF(0x2)"),
        (255, "0xff"),
        (-38, "-ENOSYS"),
        (-5000, "-5000"),
        ("odd", "'odd'"),
    ],
)
def test_answers_as_text(answer: Any, text: str) -> None:
    assert answer_text(answer) == text


def test_an_error_of_ours_by_its_type() -> None:
    assert error_text(ZeroDivisionError("oh")) == "raised ZeroDivisionError: oh"


def test_sinks_are_callables_or_streams() -> None:
    stream = io.StringIO()
    line_sink(stream)("one")
    lines: list[str] = []
    line_sink(lines.append)("two")
    assert (stream.getvalue(), lines) == ("one\n", ["two"])
    with pytest.raises(TypeError, match="int is neither a callable nor a stream"):
        line_sink(7)  # type: ignore[arg-type]
