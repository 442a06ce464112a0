"""What an instruction did is told apart: what a program sees, and what is guarded."""

from __future__ import annotations

import pytest

from pv.theorem.cases import CASES, find_case
from pv.theorem.observe import GUARDED, LEVELS, Laboratory, differences
from pv.theorem.settings import AGAIN, BASELINE, SETTINGS, Setting

BY_NAME = {setting.name: setting for setting in SETTINGS}


def seen_with(laboratory: Laboratory, name: str, level: int, setting: Setting) -> tuple[str, ...]:
    seen = laboratory.observe(find_case(name))
    return differences(seen.at(level), seen.at(level, setting))


def test_sgdt_shows_the_table_that_is_loaded(laboratory: Laboratory) -> None:
    assert seen_with(laboratory, "SGDT", 3, BY_NAME["GDTR"]) == ("memory",)
    assert seen_with(laboratory, "SGDT", 3, BY_NAME["IDTR"]) == ()


def test_pushf_shows_the_flag(laboratory: Laboratory) -> None:
    assert seen_with(laboratory, "PUSHF", 1, BY_NAME["IF"]) == ("stack",)


def test_lar_says_with_zf_and_a_register(laboratory: Laboratory) -> None:
    seen = laboratory.observe(find_case("LAR"))
    assert differences(seen.at(0), seen.at(3)) == ("rax", "flags")


@pytest.mark.parametrize(
    ("name", "level", "changes"),
    [
        ("LGDT", 0, {"GDTR"}), ("POPF", 0, {"IF", "IOPL"}), ("POPF", 3, set()), ("MOV to CR3", 0, {"CR3", "TLB"}),
        ("INVLPG", 0, {"TLB"}), ("INVLPG", 3, set()), ("HLT", 0, {"halt"}), ("OUT", 3, {"ports"}), ("IRET", 1, {"CPL"}),
        ("SWAPGS", 0, {"MSRs"}), ("PAUSE", 0, set()), ("ADD", 3, set()),
    ],
)  # fmt: skip
def test_what_is_guarded_and_changed(laboratory: Laboratory, name: str, level: int, changes: set[str]) -> None:
    assert laboratory.observe(find_case(name)).at(level).changed == changes


def test_what_differs_from_run_to_run_is_time_or_chance(laboratory: Laboratory) -> None:
    differing = set()
    for case in CASES:
        seen = laboratory.observe(case)
        if any(differences(seen.at(level), seen.at(level, AGAIN)) for level in LEVELS):
            differing.add(case.name)
    assert differing == {"RDTSC", "RDTSCP", "RDRAND"}


def test_a_fault_changes_nothing(laboratory: Laboratory) -> None:
    for case in CASES:
        seen = laboratory.observe(case)
        for level in LEVELS:
            run = seen.at(level, BASELINE)
            if run.event.startswith("#"):
                assert run.changed == set(), (case.name, level)


def test_the_processor_that_knows_it_is_taken(laboratory: Laboratory) -> None:
    models = {case.name: laboratory.observe(case).model for case in CASES}
    assert {name for name, model in models.items() if model == "EPYC"} == {"CLAC", "STAC", "MONITOR", "MWAIT"}


def test_what_is_guarded_is_named_once() -> None:
    fields = [field for names in GUARDED.values() for field in names]
    assert len(set(fields)) == len(fields)
