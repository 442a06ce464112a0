"""What the runner calls harm."""

from __future__ import annotations

import pytest

from pv.exits import StopWhy
from tests.fuzz import runner
from tests.fuzz.genome import Genome
from tests.fuzz.instructions import MAKERS, instruction
from tests.fuzz.programs import SLOT_BYTES, Program, build
from tests.fuzz.runner import Between, Harm, run_program
from tests.fuzz.witness import Witness


def test_memory_that_was_written_outside_is_noticed() -> None:
    memory = Between(2 << 20)
    memory._edges[1][5] = 0
    with pytest.raises(Harm, match="host's"):
        memory.close()


def test_an_end_that_no_guest_may_have_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program("trap", b"\x90\xeb\xfe")
    assert run_program(program).why is StopWhy.TIMEOUT
    monkeypatch.setattr(runner, "LEGAL", frozenset({StopWhy.EXITED}))
    with pytest.raises(Harm, match="ended as none may: time budget used up"):
        run_program(program)


@pytest.mark.parametrize("technique", [0, 1])
def test_a_guest_goes_on_behind_each_fault(technique: int) -> None:
    """Of instructions that fault, each has its exit, and the guest comes to its own end."""
    program = build(bytes([technique | 4]) + bytes([255, 0] * 40))
    assert program.handles is False or len(program.code) > SLOT_BYTES
    ends = {run_program(build(bytes([technique | 4, 0] + [200, 32 + number] * 60))).why for number in range(40)}
    assert StopWhy.EXITED in ends


def test_every_maker_makes_bytes_of_any_genome() -> None:
    for _, make in MAKERS:
        for data in (b"", b"\xff" * 64, bytes(range(64))):
            assert make(Genome(data))
    assert instruction(Genome(b""), ports=True)


def test_a_witness_that_sees_nothing_goes_on() -> None:
    witness = Witness()
    witness.look()
    witness.look()
    witness._living.vcpu.rbx = 5
    with pytest.raises(Harm, match="lived beside the guests"):
        witness.look()
    witness._expected = ()
    with pytest.raises(Harm, match="ran otherwise"):
        witness.look()
    witness.close()
