"""Does the property find what it is there to find? A technique that is wrong in one place is caught and named."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

import pytest

from pv.check.traffic import Recorder
from pv.dispatch import DispatchTable
from pv.exits import NEXT, Reason
from tests.equivalence import layout as at
from tests.equivalence.explain import Unexplained, explain, shrink
from tests.equivalence.kinds import KINDS
from tests.equivalence.program import EMPTY, build, generate
from tests.equivalence.runner import Bench, Benches

OF_FLAGS = {name for name, kind in KINDS.items() if kind.make.__module__ == "tests.equivalence.kinds_flags"}


def spoil(bench: Bench, reason: Reason) -> None:
    """Have the technique do nothing for an instruction of this reason."""
    rows = [
        dataclasses.replace(row, handler=lambda _exit: NEXT) if row.reason is reason else row
        for row in bench.machine.table
    ]
    bench.machine._table = DispatchTable(rows)
    bench.recorder = Recorder(bench.machine)


def vectors(bench: Bench, *names: str) -> list[int]:
    """What the log says that a program of these kinds met."""
    memory = bench.run(build(1, Random(1), [KINDS[name] for name in names])).memory
    count = int.from_bytes(memory[at.COUNT : at.COUNT + 4], "little")
    return [int.from_bytes(memory[at.LOG + 64 * n : at.LOG + 64 * n + 8], "little") for n in range(count)]


@pytest.mark.parametrize("technique", ["trap", "hardware"])
def test_events_are_logged_and_the_program_goes_on(technique: str) -> None:
    bench = Bench(technique)
    met = vectors(bench, "no_such_control_register", "unencodable", "write_cr0_badly", "at_user_level", "compute")
    assert met[0] == 6
    assert met[2] == 13
    assert met[-1] == at.DONE
    assert vectors(bench, "compute") == [at.DONE]
    bench.close()


def test_a_technique_is_equal_to_itself_holes_and_all() -> None:
    with Benches(("trap", "trap")) as benches:
        for seed in range(60):
            assert benches.run(generate(seed, holes=True)).difference is None


def test_a_spoilt_technique_is_found_out() -> None:
    with Benches(("trap", "trap")) as benches:
        spoil(benches.benches[1], Reason.INTERRUPT_FLAG)
        program = next(one for one in map(generate, range(50)) if benches.run(one).difference is not None)
        short = shrink(benches, program)
        kinds = [slot.kind for slot in short.slots if slot.kind]
        assert len(kinds) <= 2
        assert {"interrupt_flag", "flags_while_interrupts_are_on", "interrupt_to_oneself", "nested_task", *OF_FLAGS} & {
            *kinds
        }
        with pytest.raises(Unexplained, match=f"program of seed {program.seed}:"):
            explain(benches, program)


def test_a_difference_is_named_by_its_hole() -> None:
    program = build(3, Random(3), [KINDS[name] for name in ("compute", "store_gdt", "compute", "push_flags")])
    with Benches(("trap", "hardware")) as benches:
        assert sorted(explain(benches, program)) == ["PUSHF", "SGDT"]
        assert benches.run(program.without([1, 3])).difference is None


def test_a_program_is_its_seed() -> None:
    assert generate(7) == generate(7)
    assert generate(7).listing() == generate(7).listing()
    assert generate(7).without([0]).slots[0] is EMPTY
    assert "; at CPL 3" in build(1, Random(1), [KINDS["at_user_level"]]).listing()


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_kind_fits_into_a_slot(kind: Any) -> None:
    for seed in range(40):
        kernel, user = build(seed, Random(seed), [kind] * at.SLOTS_MOST).pages()
        assert len(kernel) <= at.USER - at.CODE
        assert len(user) <= 0x1000


def test_the_recorder_of_a_bench_forgets() -> None:
    bench = Bench("trap")
    assert isinstance(bench.recorder, Recorder)
    bench.run(build(1, Random(1), [KINDS["port_write"]] * 5))
    first = len(bench.run(build(1, Random(1), [KINDS["compute"]])).accesses)
    assert first == 1
    bench.close()
