"""Random kernel programs are equal under every technique, but for holes and errata that are listed, and no other."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.equivalence.campaign import TECHNIQUES, TRANSLATED, run_seeds
from tests.equivalence.kinds import KINDS, Kind
from tests.equivalence.program import SLOTS, build, drawn, generate
from tests.equivalence.runner import Benches

PROGRAMS, TRANSLATED_PROGRAMS, CHUNK = 5_000, 5_000, 500
EXPLAINED: Final = 40
DOCS: Final = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("first", range(0, PROGRAMS, CHUNK))
def test_programs_without_holes_are_equal(first: int) -> None:
    tally = run_seeds(range(first, first + CHUNK))
    assert tally.programs == CHUNK
    assert tally.unfinished <= CHUNK // 100
    assert tally.ends["exited with status 1"] > 0.95 * CHUNK


@pytest.mark.parametrize("first", range(0, TRANSLATED_PROGRAMS, CHUNK))
def test_translation_has_no_hole(first: int) -> None:
    """Where trap is not among them, the instructions of its holes are drawn as well."""
    tally = run_seeds(range(first, first + CHUNK), TRANSLATED)
    assert tally.programs == CHUNK
    assert tally.unfinished <= CHUNK // 100
    assert tally.ends["exited with status 1"] > 0.95 * CHUNK


def test_most_programs_write_over_code_or_move_it() -> None:
    about_code = {"tests.equivalence.kinds_code", "tests.equivalence.kinds_code_pages"}
    programs = [generate(seed, TRANSLATED) for seed in range(400)]
    with_code = [one for one in programs if about_code & {KINDS[slot.kind].make.__module__ for slot in one.slots}]
    assert len(with_code) > 0.9 * len(programs)
    assert any(KINDS[slot.kind].hole for one in programs for slot in one.slots)


@pytest.mark.parametrize("first", range(0, EXPLAINED, EXPLAINED // 4))
def test_differences_are_those_that_are_listed(first: int) -> None:
    tally = run_seeds(range(first, first + EXPLAINED // 4), holes=True)
    assert tally.programs == EXPLAINED // 4
    assert len(tally.listed) > 5


@pytest.fixture(scope="module")
def benches() -> Benches:
    return Benches(TECHNIQUES)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kinds=st.lists(st.sampled_from(drawn(False, TECHNIQUES)[0]), min_size=SLOTS[0], max_size=SLOTS[1]),
    seed=st.integers(0, 1 << 32),
)
def test_any_mixture_of_kinds_is_equal(benches: Benches, kinds: list[Kind], seed: int) -> None:
    program = build(seed, Random(seed), kinds)
    found = benches.run(program)
    assert found.difference is None, program.listing()


def test_every_hole_and_erratum_is_on_its_page() -> None:
    holes, errata = (DOCS / "holes.md").read_text(), (DOCS / "check.md").read_text()
    assert [one.name for one in KINDS.values() if (one.hole or one.lacks) not in holes] == []
    assert [one.name for one in KINDS.values() if one.erratum and f"| {one.erratum} |" not in errata] == []
