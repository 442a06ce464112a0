"""The benchmark's handlers answer as their rows suppose."""

from __future__ import annotations

from types import SimpleNamespace

from bench.plugin import PLUGIN, Latch, buffer, latch_rows, null
from bench.rows import BUFFER_CALL, LATCH_PORT, NULL_CALL
from pv.dispatch import DispatchTable, Shape
from pv.exits import Reason


def test_calls_have_the_numbers_that_the_guests_use() -> None:
    assert {call.number: call.name for call in PLUGIN.calls} == {NULL_CALL: "bench_null", BUFFER_CALL: "bench_buffer"}


def test_null_takes_six_registers() -> None:
    assert len(null.arguments) == 6
    assert null(SimpleNamespace(), 1, 2, 3, 4, 5, 6) == 1


def test_buffer_gives_its_length() -> None:
    assert buffer(SimpleNamespace(), b"abc") == 3


def test_latch_gives_back_what_it_was_given() -> None:
    latch = Latch()
    latch.write(0, 1, 0x41)
    assert latch.read(0, 1) == 0x41


def test_latch_answers_its_port_both_ways() -> None:
    table = DispatchTable(latch_rows(SimpleNamespace()))
    assert {shape for shape in Shape if table.find(Reason.IO_INSTRUCTION, LATCH_PORT, shape)} == {
        Shape.READ,
        Shape.WRITE,
    }
