"""Random guests that hypothesis draws: one that does harm is made as small as it gets."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.programs import build
from tests.fuzz.runner import Harm, run_program
from tests.fuzz.witness import Witness, descriptors, resident_bytes

BATCH = 500  # guests between two looks at the witness
WARM = 1000  # guests after which a process has what it needs
GROWTH_MOST = 64 << 20
GENOME_MOST = 400


def search(guests: int, first: int) -> Counter[str]:
    """Run so many guests, from the seed `first` on: how many ended how.

    Raises what a guest raised, with the smallest genome that does it as a note of hypothesis's; Harm.
    """
    tally: Counter[str] = Counter()
    witness = Witness()
    held: list[tuple[int, int]] = []

    @seed(first)
    @settings(max_examples=guests, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=16, max_size=GENOME_MOST))
    def live(data: bytes) -> None:
        program = build(data)
        found = run_program(program)
        tally[f"{program.technique} {found.why.name}"] += 1
        ran = tally.total()
        if ran % BATCH == 0:
            witness.look()
        if ran == WARM:
            held.append((descriptors(), resident_bytes()))

    live()
    witness.look()
    if held:
        files, resident = descriptors(), resident_bytes()
        if files != held[0][0] or resident > held[0][1] + GROWTH_MOST:
            raise Harm(f"files and bytes held went from {held[0]} to {(files, resident)}")
    witness.close()
    return tally
