"""Grants and quotas: what answers -EPERM and -EAGAIN, and what is refused when they are given."""

import pytest

from guest_sdk import abi
from pv.dispatch import Row, Shape
from pv.exits import NEXT, Reason
from pv.grants import SECOND_NS, limit_calls

EPERM, EAGAIN = -abi.ERRNO["EPERM"], -abi.ERRNO["EAGAIN"]


class Now:
    now_ns = 0


def call_row(number: int, name: str, shape: Shape = Shape.CALL) -> Row:
    return Row(Reason.VMCALL, number, number, lambda value: value + 1, "test", name, shape, (64,))


ROWS = [call_row(1, "one"), call_row(2, "two"), Row(Reason.HLT, 0, 0, lambda _exit: NEXT, "test", "halt")]


def test_without_limits_the_rows_are_the_same() -> None:
    assert limit_calls(ROWS, None, None, Now()) == ROWS


def test_what_is_not_granted_is_refused_before_its_arguments() -> None:
    one, two, halt = limit_calls(ROWS, {"one"}, None, Now())
    assert one.handler(4) == 5
    assert (two.handler(), two.argument_bits) == (EPERM, ())
    assert halt is ROWS[2]


def test_granting_nothing_refuses_all() -> None:
    assert [row.handler() for row in limit_calls(ROWS, (), None, Now())[:2]] == [EPERM, EPERM]


def test_a_quota_holds_in_each_second_of_virtual_time() -> None:
    clock = Now()
    one, two, _ = limit_calls(ROWS, None, {"one": 2}, clock)
    assert [one.handler(0) for _ in range(3)] == [1, 1, EAGAIN]
    assert two.handler(0) == 1
    clock.now_ns = SECOND_NS - 1
    assert one.handler(0) == EAGAIN
    clock.now_ns = SECOND_NS
    assert [one.handler(0) for _ in range(3)] == [1, 1, EAGAIN]


def test_a_quota_of_none_at_all() -> None:
    assert limit_calls(ROWS, None, {"two": 0}, Now())[1].handler(0) == EAGAIN


@pytest.mark.parametrize(
    ("grants", "quotas", "message"),
    [
        (["one", "onne"], None, "grants: no hypercall is named 'onne'"),
        (None, {"three": 1}, "quotas: no hypercall is named 'three'"),
        (None, {"one": -1}, "one allows -1 calls"),
        (None, {"one": 1.5}, "one allows 1.5 calls"),
        (None, {"one": True}, "one allows True calls"),
    ],
)
def test_names_and_numbers_that_cannot_be(grants: list[str] | None, quotas: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        limit_calls(ROWS, grants, quotas, Now())


def test_a_call_inside_the_engine_cannot_have_a_quota() -> None:
    with pytest.raises(ValueError, match="inside the engine"):
        limit_calls([call_row(1, "one", Shape.NATIVE)], None, {"one": 1}, Now())
