# ruff: noqa: ARG001 (handlers are written to be registered, not to use what they take)
from __future__ import annotations

import functools
from errno import E2BIG
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from hypercalls.arguments import U8, U16, U32, U64, GuestBuffer, GuestBytes, GuestString, StringIn
from hypercalls.document import Document, ReplyDocument
from hypercalls.signature import read_signature
from pv.exits import NEXT, GuestError, Reply

if TYPE_CHECKING:
    from hypercalls import MachineView


def bound(machine, fn):
    return read_signature(fn, "probe").bind(fn, machine)


def test_widths_and_names_of_registers():
    def fn(machine, a: U8, b: U16, c: U32, d: U64, e: int) -> int:
        return 0

    assert read_signature(fn, "probe").arguments == (("a", 8), ("b", 16), ("c", 32), ("d", 64), ("e", 64))


def test_spans_take_two_registers():
    def fn(machine, name: GuestString, out: GuestBuffer, reply: ReplyDocument) -> int:
        return 0

    names = [name for name, _ in read_signature(fn, "probe").arguments]
    assert names == ["name_gpa", "name_bytes", "out_gpa", "out_bytes", "reply_gpa", "reply_bytes"]


def test_integers_are_bound_by_partial_alone(machine):
    def fn(machine, a: int, b: U32) -> int:
        return a + b

    handler = bound(machine, fn)
    assert type(handler) is functools.partial
    assert (handler.func, handler.args, handler(1, 2)) == (fn, (machine,), 3)


def test_the_machine_annotation_is_not_read(machine):
    def fn(machine: MachineView) -> int:
        return machine.memory.size_bytes

    assert bound(machine, fn)() == machine.memory.size_bytes


def test_values_arrive_in_order(machine):
    seen: list[Any] = []

    def fn(machine, before: U32, data: GuestBytes, between: int, text: GuestString) -> int:
        seen.extend([before, data, between, text])
        return 5

    machine.memory.write(0x100, b"abcdef")
    assert bound(machine, fn)(1, 0x100, 3, 9, 0x103, 3) == 5
    assert seen == [1, b"abc", 9, "def"]


def test_documents_in_and_out(machine):
    def fn(machine, ask: Document, reply: ReplyDocument) -> int:
        return reply.send({"got": ask})

    machine.memory.write(0x100, b"\x92\x01\x02")
    assert bound(machine, fn)(0x100, 3, 0x200, 64) == 8
    assert machine.memory.read(0x200, 8) == b"\x81\xa3got\x92\x01\x02"


def test_annotated_narrows_an_alias(machine):
    def fn(machine, name: Annotated[GuestString, StringIn(2)]) -> int:
        return len(name)

    handler = bound(machine, fn)
    assert handler(0, 2) == 2
    with pytest.raises(GuestError) as caught:
        handler(0, 3)
    assert caught.value.errno == E2BIG


def test_none_is_zero(machine):
    def fn(machine) -> None:
        pass

    assert bound(machine, fn)() == 0


def test_a_value_from_a_handler_that_promised_none_is_a_bug(machine):
    def fn(machine) -> None:
        return 3

    with pytest.raises(TypeError, match=r"'probe' is annotated -> None and returned int"):
        bound(machine, fn)()


@pytest.mark.parametrize("result", [0, (1 << 63) - 1, -1, -4095, NEXT, True])
def test_results_that_a_guest_can_be_given(machine, result):
    def fn(machine, data: GuestBytes) -> int | Reply:
        return result

    assert bound(machine, fn)(0, 0) is result


@pytest.mark.parametrize(
    ("result", "error"),
    [(1 << 63, ValueError), (-4096, ValueError), (None, TypeError), ("3", TypeError), (1.0, TypeError)],
)
def test_results_that_are_a_bug_of_the_handler(machine, result, error):
    def fn(machine, data: GuestBytes) -> int:
        return result

    with pytest.raises(error, match="'probe' returned"):
        bound(machine, fn)(0, 0)


def no_machine() -> int: ...
def no_annotation(machine, a) -> int: ...
def wrong_annotation(machine, a: dict) -> int: ...
def plain_str(machine, a: str) -> int: ...
def unknown_name(machine, a: Nowhere) -> int: ...  # noqa: F821
def default(machine, a: int = 1) -> int: ...
def star(machine, *a: int) -> int: ...
def keyword(machine, *, a: int) -> int: ...
def seven(machine, a: GuestBytes, b: GuestBytes, c: GuestBytes, d: int) -> int: ...
def twice(machine, a_gpa: int, a: GuestBytes) -> int: ...
def no_result(machine, a: int): ...
def text_result(machine) -> str: ...
def maybe(machine) -> int | None: ...


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (no_machine, "takes no machine"),
        (no_annotation, "parameter 'a' has no annotation"),
        (wrong_annotation, "parameter 'a' is annotated"),
        (plain_str, "parameter 'a' is annotated"),
        (unknown_name, "Nowhere"),
        (default, "parameter 'a' has a default"),
        (star, "parameter 'a' cannot be passed in registers"),
        (keyword, "parameter 'a' cannot be passed in registers"),
        (seven, "parameter 'd' is past the 6 registers"),
        (twice, "'a_gpa'"),
        (no_result, "no return annotation"),
        (text_result, "returns <class 'str'>"),
        (maybe, "returns"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_refused_at_decoration_by_function_and_parameter(fn, said):
    with pytest.raises(TypeError) as caught:
        read_signature(fn, "probe")
    assert f"{fn.__name__}()" in str(caught.value)
    assert said in str(caught.value)


def test_six_registers_are_taken(machine):
    def fn(machine, a: GuestBytes, b: int, c: int, d: int, e: int) -> int:
        return b + c + d + e

    assert bound(machine, fn)(0, 0, 1, 2, 3, 4) == 10
