"""Which techniques can run a guest, and what a check of them comes to."""

from __future__ import annotations

import pytest

from guest_sdk.examples import hello
from pv.check import Ignored, Run, able_techniques, check
from pv.check.timing import Area
from pv.loaders import LoadError
from pv.techniques import TECHNIQUES
from tests.pv.check.guests import EXIT, HARDWARE, WRITES, run_of, sdk

ALL = tuple(name for name, one in TECHNIQUES.items() if not one.takes_hypercalls)


def test_a_guest_says_who_can_run_it() -> None:
    assert able_techniques(hello.build(), "16MiB") == ("paravirt",)
    assert able_techniques(run_of(WRITES).image, "2MiB") == ALL
    with pytest.raises(LoadError):
        able_techniques(b"", "2MiB")


def test_all_techniques_agree() -> None:
    ran: list[str] = []
    verdict = check(run_of(WRITES), ALL, on_run=ran.append)
    assert verdict.equal
    assert tuple(ran) == ALL
    assert verdict.compared_accesses == 3


def test_one_technique_is_held_to_itself() -> None:
    verdict = check(Run(hello.build(), timeout=20), ["paravirt"])
    assert verdict.equal
    assert [one.technique for one in verdict.observations] == ["paravirt", "paravirt"]


def test_a_hole_is_found_unless_its_place_is_left_out() -> None:
    run = run_of(f"sgdt [0x5000]; {EXIT}")
    verdict = check(run, HARDWARE)
    assert not verdict.equal
    assert verdict.difference is not None
    assert verdict.sides is not None
    assert check(run, HARDWARE, Ignored(areas=(Area(0x5000, 10),))).equal


def test_a_symbol_of_the_guest_leaves_its_place_out() -> None:
    guests = [sdk(f"sgdt [{name}]", lambda guest, name=name: guest.bss(name, 16)) for name in ("timing_table", "table")]
    assert [check(Run(guest, "2MiB", timeout=20), HARDWARE).equal for guest in guests] == [True, False]


def test_a_run_without_an_end_is_no_agreement() -> None:
    verdict = check(Run(run_of("again: jmp again").image, "2MiB", timeout=0.01), HARDWARE)
    assert not verdict.equal
    assert verdict.difference is None
    assert verdict.unfinished is not None
