"""Every argument type has a generator of hostile values, and every installed call is asked with them."""

from __future__ import annotations

import random
from errno import ENOSYS
from types import ModuleType
from typing import Any

import pytest

import hypercalls
from hypercalls import arguments, document
from hypercalls.arguments import ArgumentType
from hypercalls.registry import Listed
from pv.engines.base import GuestFault
from pv.machine import Machine
from tests.fuzz.arguments import GENERATORS, hostile, installed_calls
from tests.fuzz.genome import Genome
from tests.fuzz.instructions import MEMORY_BYTES
from tests.fuzz.runner import Between

CALLS = installed_calls()
TRIES = 300


def types_of(module: ModuleType) -> set[type[Any]]:
    """The classes of a module that are argument types."""
    verbs = ("registers", "bind", "describe")
    return {
        found
        for found in vars(module).values()
        if isinstance(found, type) and found is not ArgumentType and all(hasattr(found, verb) for verb in verbs)
    }


def test_every_argument_type_has_a_generator() -> None:
    known = set().union(*map(types_of, (arguments, document, hypercalls)))
    used = {type(parameter.type) for listed in CALLS for parameter in listed.call.signature.parameters}
    assert len(known) >= 7
    assert {found.__name__ for found in (known | used) - set(GENERATORS)} == set(), "write a row in GENERATORS"


def test_a_type_without_one_is_an_error() -> None:
    class Another:
        pass

    with pytest.raises(KeyError):
        hostile(Another(), Genome(b""), lambda _gpa, _data: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("listed", CALLS, ids=lambda listed: listed.call.name)
def test_a_call_answers_whatever_it_is_asked(listed: Listed) -> None:
    """Straight into the table, as a batch does: an answer is an integer that RAX can hold, and no exception leaves."""
    chooser = random.Random(listed.call.name)
    answers = set()
    with Machine(memory=Between(MEMORY_BYTES)) as machine:
        machine.load(b"\x90")
        for _ in range(TRIES):
            genome = Genome(chooser.randbytes(160))

            def plant(gpa: int, data: bytes) -> None:
                if gpa + len(data) <= MEMORY_BYTES:
                    machine.memory.write(gpa, data)

            registers = [
                register
                for parameter in listed.call.signature.parameters
                for register in hostile(parameter.type, genome, plant)
            ]
            assert len(registers) == len(listed.call.arguments)
            try:
                answer = machine.vcpu.call(listed.call.number, tuple(registers))
            except GuestFault:  # the guest's, where the call pops a frame from its stack
                assert listed.call.name == "return_from_event"
                continue
            assert -4095 <= answer < 1 << 63
            answers.add(answer)
    assert -ENOSYS not in answers
