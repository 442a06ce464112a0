"""Where a difference began: the instruction of an access, and between which accesses memory came to differ."""

from __future__ import annotations

from pv.check import Difference, Ignored, Run, observe
from pv.check.locate import divergence, places, symbol_at
from pv.check.verdict import check
from tests.pv.check.guests import EXIT, HARDWARE, WRITES, observed, run_of, sdk
from tests.pv.engines.unicorn_memory.machines import BASE

HOLE = run_of(f"mov dx, 0x3f8; mov al, 0x41; out dx, al; sgdt [0x5000]; mov al, 0x42; out dx, al; {EXIT}")


def test_the_nearest_symbol() -> None:
    one = observe(Run(sdk("nop\nnop"), "2MiB", timeout=20), "trap")
    main = one.symbols["main"]
    assert symbol_at(one, main) == "main"
    assert symbol_at(one, main + 1) == "main+0x1"
    assert symbol_at(one, 0) == ""


def test_the_instruction_of_an_access_is_that_of_its_moment() -> None:
    """The guest overwrites it before it ends."""
    run = run_of(f"mov dx, 0x3f8; mov al, 0x41; out dx, al; mov byte ptr [{BASE + 6}], 0x90; {EXIT}")
    one = observe(run, "trap")
    found = Difference("device traffic", "", "", "", (one.accesses[0], None), (one.accesses[0].rip, None))
    place, nothing = places(run, (one, one), found)
    assert nothing is None
    assert place is not None
    assert str(place) == f"{one.accesses[0].rip:#x}: out dx,al"


def test_the_instruction_where_a_run_ended() -> None:
    run = run_of(WRITES)
    one = observed(WRITES)
    (place, _) = places(run, (one, one), Difference("registers", "rax", "", "", rips=(one.outcome.rip, None)))
    assert place is not None
    assert place.rip == one.outcome.rip


def test_memory_came_to_differ_between_two_accesses() -> None:
    sides = observe(HOLE, "trap"), observe(HOLE, "hardware")
    interval = divergence(HOLE, sides, 0x5001, Ignored())
    assert interval.after is not None
    assert interval.before is not None
    assert (interval.after.value, interval.before.value) == (0x41, 0x42)
    assert divergence(HOLE, sides, 0x6000, Ignored()).before is None


def test_a_verdict_brings_both() -> None:
    verdict = check(HOLE, HARDWARE)
    assert verdict.interval is not None
    assert verdict.interval.after is not None
    assert verdict.interval.after.value == 0x41
