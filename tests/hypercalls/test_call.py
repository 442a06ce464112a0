# ruff: noqa: ARG001 (handlers are written to be registered, not to use what they take)
import functools

import pytest

from hypercalls.arguments import U16, GuestString
from hypercalls.call import check_number, hypercall
from pv.dispatch import Collision, Shape
from pv.exits import Reason


@hypercall(0x8001, "greet", user_allowed=True, result="characters greeted")
def greet(machine, name: GuestString, times: U16) -> int:
    """Say hello.

    Loudly.
    """
    machine.console.write(f"hello {name}" * times)
    return len(name)


def test_the_row_says_all_the_engine_needs(machine):
    (row,) = greet.rows(machine)
    assert (row.reason, row.first, row.last, row.shape) == (Reason.VMCALL, 0x8001, 0x8001, Shape.CALL)
    assert (row.name, row.argument_bits, row.user_allowed) == ("greet", (64, 64, 16), True)
    assert row.owner.endswith("test_call.greet")
    machine.memory.write(0x100, b"world")
    assert row.handler(0x100, 5, 1) == 5
    assert machine.console.text == b"hello world"


def test_a_call_can_be_called_with_values(machine):
    assert greet(machine, "you", 2) == 3
    assert machine.console.text == b"hello youhello you"


def test_documentation_is_the_docstring():
    assert greet.doc == "Say hello.\n\nLoudly."
    assert greet.result == "characters greeted"


def test_a_row_says_whether_a_batch_may_hold_it(machine):
    @hypercall(0x8002, "leave", batchable=False)
    def leave(machine) -> int:
        return 0

    machine.add(greet, leave)
    assert [row.batchable for row in (*greet.rows(machine), *leave.rows(machine))] == [True, False]


def test_one_number_twice_is_refused_by_the_table(machine):
    @hypercall(0x8001, "other")
    def other(machine) -> int:
        return 0

    machine.add(greet)
    with pytest.raises(Collision, match=r"greet.*other"):
        machine.add(other)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0x1000, "pvkit's own; use 0x8000-0xffff"),
        (0x0001, "not a plugin's; use 0x8000-0xffff"),
        (0x10000, "not a plugin's"),
        (0x8000_0000, "bit 31"),
        (-1, "bit 31"),
        (True, "bit 31"),
        ("0x8001", "bit 31"),
    ],
)
def test_numbers_that_cannot_be_had(number, said):
    with pytest.raises(ValueError, match="hypercall 'thing'") as caught:

        @hypercall(number, "thing")
        def thing(machine) -> int:
            return 0

    assert said in str(caught.value)


def test_the_project_s_own_numbers_are_its_own():
    check_number(0x1000, "abi_version", built_in=True)
    with pytest.raises(ValueError, match="use 0x1000-0x1fff"):
        check_number(0x8000, "abi_version", built_in=True)


@pytest.mark.parametrize("name", ["", "Greet", "9lives", "a b", "a-b", "é", "a" * 64, 3])
def test_names_that_no_header_can_hold(name):
    with pytest.raises(ValueError, match="hypercall name"):

        @hypercall(0x8001, name)
        def thing(machine) -> int:
            return 0


async def later(machine) -> int:
    return 0


def piecemeal(machine) -> int:
    yield 0


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (later, r"hypercall 'thing': later\(\) answers later"),
        (piecemeal, r"hypercall 'thing': piecemeal\(\) answers later"),
        (functools.partial(later), "hypercall 'thing': functools.partial.* is no function"),
        (3, "hypercall 'thing': 3 is no function"),
    ],
)
def test_what_could_not_answer_a_guest(handler, says):
    with pytest.raises(TypeError, match=says):
        hypercall(0x8001, "thing")(handler)
